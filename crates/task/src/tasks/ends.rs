//! The end of a process, and the order of the events: a process's end is published after its start, and the init process's end
//! after all other ends.

use std::mem;

use super::container::{Container, Exit, Pids, Process, State};
use super::effect::{Effect, Work};
use super::machine::Tasks;
use super::refusal::Refusal;
use super::target::{Reach, Target};
use crate::messages::event::{TaskDelete, TaskExit};
use crate::{Answer, Event, Id};

/// SIGKILL.
const KILL: u32 = 9;

impl Tasks {
    pub(super) fn take_end(&mut self, pid: u32, exit: Exit) {
        if let Some(target) = self.by_pid.remove(&pid) {
            if let Some(process) = self.process_mut(&target) {
                process.ended = Some(exit);
            }
            self.settle(&target.container);
        } else if self.jobs.values().any(|job| job.work.makes_a_process()) {
            self.early.insert(pid, exit);
        }
    }

    /// Publishes the ends whose turn has come, and removes a container that was deleted. A process's end waits until no work is
    /// done on the process. So the end never comes before the start.
    pub(super) fn settle(&mut self, id: &Id) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let ready = container.execs.iter().filter(|(_, exec)| exec.process.is_ready());
        let ready: Vec<_> = ready.map(|(exec, _)| exec.clone()).collect();
        for exec in ready {
            self.stop(&Target { container: id.clone(), exec: Some(exec) });
        }
        self.settle_init(id);
    }

    fn settle_init(&mut self, id: &Id) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let is_deleted = container.is_deleted();
        if container.init.is_ready() || (is_deleted && container.init.ended.is_some()) {
            let rest = container.rest();
            let has_execs = container.execs.values().any(|exec| exec.is_running());
            let target = Target { container: id.clone(), exec: None };
            for work in rest.into_iter().map(|rest| rest.work(&target)) {
                self.run(None, work);
            }
            if has_execs {
                return;
            }
            self.stop(&target);
        }
        // A result that is still to come must find its own container, and not a later container with the same ID.
        if is_deleted && self.containers.get(id).is_some_and(Container::is_at_rest) {
            self.remove(id);
        }
    }

    /// Publishes the end, and answers the calls that wait for the end.
    fn stop(&mut self, target: &Target) {
        let Some(process) = self.process_mut(target) else { return };
        let Some(exit) = process.ended.take() else { return };
        process.exit = Some(exit);
        process.state = State::Stopped;
        let (pid, waits) = (process.pid, mem::take(&mut process.waits));
        let event = TaskExit {
            container_id: target.container.to_string(),
            id: target.exec.as_ref().unwrap_or(&target.container).to_string(),
            pid,
            exit_status: exit.status,
            exited_at: Some(exit.at),
        };
        self.effects.push(Effect::Publish(Event::Exit(event)));
        for ticket in waits {
            self.answer(ticket, Ok(exit.into_answer()));
        }
    }

    /// Removes a container whose init process has ended, and answers the call that deleted it.
    fn remove(&mut self, id: &Id) {
        let Some(Container { init, execs, deleted, given_up, .. }) = self.containers.remove(id)
        else {
            return;
        };
        let was_given_up = self.given_up.remove(id) || given_up;
        let answer = init.delete_response();
        let event = TaskDelete {
            container_id: id.to_string(),
            pid: answer.pid,
            exit_status: answer.exit_status,
            exited_at: answer.exited_at,
            id: String::new(),
        };
        self.effects.push(Effect::Publish(Event::Delete(event)));
        if let Some(ticket) = deleted {
            self.answer(ticket, Ok(Answer::Delete(answer)));
        }
        for (exec, of) in execs {
            self.abandon(of.process, Some(&exec));
        }
        self.abandon(init, None);
        if was_given_up {
            self.end_if_unused();
        }
    }

    /// Refuses the calls that still wait for a process that is gone.
    pub(super) fn abandon(&mut self, process: Process, exec: Option<&Id>) {
        let refusal = match exec {
            Some(exec) => Refusal::NoExec(exec.to_string()),
            None => Refusal::NoContainer,
        };
        for ticket in process.waits {
            self.answer(ticket, Err(refusal.clone()));
        }
        for (ticket, call) in process.queue.into_calls() {
            self.take_call(ticket, call);
        }
    }
}

/// What must be done to the other processes of a container whose init process has ended.
enum Rest {
    Kill,
    Thaw,
}

impl Rest {
    fn work(&self, init: &Target) -> Work {
        match self {
            Self::Kill => {
                Work::Kill { target: init.clone(), signal: KILL, reach: Reach::Container }
            }
            Self::Thaw => Work::Resume(init.container.clone()),
        }
    }
}

impl Container {
    /// Whether the init process has ended, and no work is done on an exec.
    fn is_at_rest(&self) -> bool {
        self.init.state == State::Stopped
            && self.execs.values().all(|exec| exec.process.doing.is_none())
    }

    /// What must be done to the other processes. It is returned only once.
    fn rest(&mut self) -> Vec<Rest> {
        let mut rest = Vec::new();
        if !mem::replace(&mut self.cleared, true) {
            if self.pids == Pids::Shared {
                rest.push(Rest::Kill);
            }
            if self.init.state == State::Paused {
                rest.push(Rest::Thaw);
            }
        }
        rest
    }
}

impl Process {
    /// Whether the end may be published.
    fn is_ready(&self) -> bool {
        self.ended.is_some() && self.doing.is_none()
    }
}
