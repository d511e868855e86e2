//! The result of work.

use super::container::{Container, Pids, Process, State, Streams};
use super::effect::{Effect, Job, Outcome, Work};
use super::machine::{Running, Tasks};
use super::refusal::Refusal;
use super::target::{Target, Ticket};
use crate::messages::Any;
use crate::messages::event::*;
use crate::messages::options::runc::ProcessDetails;
use crate::messages::task::*;
use crate::{Answer, Event, Id};

impl Tasks {
    pub(super) fn take_outcome(&mut self, job: Job, outcome: Outcome) {
        let Some(Running { work, ticket }) = self.jobs.remove(&job) else { return };
        match work {
            Work::Create(id, request) => self.created(id, *request, ticket, outcome),
            Work::StartInit(id) => self.init_started(id, ticket, outcome),
            Work::StartExec(target, _) => self.exec_started(target, ticket, outcome),
            Work::Delete(target) => self.deleted(target, ticket, outcome),
            Work::Pause(id) => self.paused(id, ticket, outcome),
            Work::Resume(id) => self.resumed(id, ticket, outcome),
            Work::Pids(id) => {
                let answer = self.pids(&id, outcome);
                self.reply(&id, ticket, answer);
            }
            Work::Stats(id) => {
                let answer = match outcome {
                    Outcome::Stats(any) => Ok(Answer::Stats(StatsResponse { stats: Some(any) })),
                    other => Err(other.refusal()),
                };
                self.reply(&id, ticket, answer);
            }
            Work::CloseInput(target) => self.reply(&target.container, ticket, outcome.empty()),
            Work::Kill { target, .. } | Work::Resize { target, .. } => {
                self.finished(target, ticket, outcome.empty());
            }
            Work::Update(id, _) | Work::Checkpoint(id, _) => {
                let target = Target { container: id, exec: None };
                self.finished(target, ticket, outcome.empty());
            }
        }
        if !self.jobs.values().any(|job| job.work.makes_a_process()) {
            self.early.clear();
        }
    }

    fn created(
        &mut self,
        id: Id,
        request: CreateTaskRequest,
        ticket: Option<Ticket>,
        outcome: Outcome,
    ) {
        self.creating.remove(&id);
        let (pid, pids) = match outcome {
            Outcome::Created { pid, pids } => (pid, pids),
            other => {
                self.reply(&id, ticket, Err(other.refusal()));
                return self.forget_given_up(&id);
            }
        };
        let (container, event) = Container::made(&id, request, pid, pids);
        self.containers.insert(id.clone(), container);
        self.effects.push(Effect::Publish(Event::Create(event)));
        self.reply(&id, ticket, Ok(Answer::Create(CreateTaskResponse { pid })));
        let target = Target { container: id.clone(), exec: None };
        self.know(pid, target);
        self.delete_given_up(&id);
        self.settle(&id);
    }

    fn init_started(&mut self, id: Id, ticket: Option<Ticket>, outcome: Outcome) {
        let target = Target { container: id.clone(), exec: None };
        let answer = outcome.empty().and_then(|_| {
            let init = self.process_mut(&target).ok_or(Refusal::NoContainer)?;
            init.state = State::Running;
            let pid = init.pid;
            let event = TaskStart { container_id: id.to_string(), pid };
            self.effects.push(Effect::Publish(Event::Start(event)));
            Ok(Answer::Start(StartResponse { pid }))
        });
        self.publish_waiting_oom(&id);
        self.finished(target, ticket, answer);
    }

    fn exec_started(&mut self, target: Target, ticket: Option<Ticket>, outcome: Outcome) {
        let exec_id = target.exec.as_ref().map(Id::to_string).unwrap_or_default();
        let container_id = target.container.to_string();
        let container = self.containers.get_mut(&target.container);
        let exec = container.and_then(|container| container.execs.get_mut(exec_id.as_str()));
        exec.into_iter().for_each(|exec| exec.request.started());
        let answer = match (outcome, self.process_mut(&target)) {
            (Outcome::Started { pid }, Some(process)) => {
                process.state = State::Running;
                process.pid = pid;
                let event = TaskExecStarted { container_id, exec_id, pid };
                self.effects.push(Effect::Publish(Event::ExecStarted(event)));
                self.know(pid, target.clone());
                Ok(Answer::Start(StartResponse { pid }))
            }
            (other, process) => {
                let exit = super::Exit::NEVER_STARTED;
                let waits = process.map(|process| {
                    process.exit = Some(exit);
                    std::mem::take(&mut process.waits)
                });
                for wait in waits.unwrap_or_default() {
                    self.answer(wait, Ok(exit.into_answer()));
                }
                Err(other.refusal())
            }
        };
        self.finished(target, ticket, answer);
    }

    fn deleted(&mut self, target: Target, ticket: Option<Ticket>, outcome: Outcome) {
        // Without a ticket, containerd has given the container up.
        if let (None, Some(process)) = (ticket, self.process_mut(&target)) {
            process.doing = None;
        }
        if let Err(refusal) = outcome.empty() {
            return self.finished(target, ticket, Err(refusal));
        }
        match &target.exec {
            Some(exec) => {
                let container = self.containers.get_mut(&target.container);
                let found = container.and_then(|container| container.execs.remove(exec));
                let answer = match &found {
                    Some(exec) => Ok(Answer::Delete(exec.process.delete_response())),
                    None => Err(Refusal::NoExec(exec.to_string())),
                };
                self.reply(&target.container, ticket, answer);
                if let Some(found) = found {
                    self.abandon(found.process, Some(exec));
                }
                self.settle(&target.container);
            }
            None => {
                if let Some(container) = self.containers.get_mut(&target.container) {
                    container.deleted = ticket.or(container.deleted);
                }
                self.settle(&target.container);
            }
        }
    }

    fn paused(&mut self, id: Id, ticket: Option<Ticket>, outcome: Outcome) {
        let target = Target { container: id.clone(), exec: None };
        let answer = outcome.empty();
        if let (Ok(_), Some(init)) = (&answer, self.process_mut(&target)) {
            init.state = State::Paused;
            let event = TaskPaused { container_id: id.to_string() };
            self.effects.push(Effect::Publish(Event::Paused(event)));
        }
        self.finished(target, ticket, answer);
    }

    fn resumed(&mut self, id: Id, ticket: Option<Ticket>, outcome: Outcome) {
        let answer = outcome.empty();
        // Without a ticket, the machine itself thawed the container after the init process had ended.
        let Some(ticket) = ticket else { return self.reply(&id, None, answer) };
        let target = Target { container: id.clone(), exec: None };
        if let (Ok(_), Some(init)) = (&answer, self.process_mut(&target)) {
            init.state = State::Running;
            let event = TaskResumed { container_id: id.to_string() };
            self.effects.push(Effect::Publish(Event::Resumed(event)));
        }
        self.finished(target, Some(ticket), answer);
    }

    fn pids(&self, id: &Id, outcome: Outcome) -> Result<Answer, Refusal> {
        let Outcome::Pids(pids) = outcome else { return Err(outcome.refusal()) };
        let container = self.containers.get(id).ok_or(Refusal::NoContainer)?;
        let info = |pid: u32| {
            let mut execs = container.execs.iter();
            let (exec_id, _) = execs.find(|(_, exec)| pid != 0 && exec.process.pid == pid)?;
            Some(Any::of(&ProcessDetails { exec_id: exec_id.to_string() }))
        };
        let processes = pids.into_iter().map(|pid| ProcessInfo { pid, info: info(pid) }).collect();
        Ok(Answer::Pids(PidsResponse { processes }))
    }

    /// Answers the call, and goes on with the calls that waited for the process.
    fn finished(
        &mut self,
        target: Target,
        ticket: Option<Ticket>,
        answer: Result<Answer, Refusal>,
    ) {
        // A signal that the machine itself sends does not count as work on the process.
        if let (Some(_), Some(process)) = (ticket, self.process_mut(&target)) {
            process.doing = None;
        }
        self.reply(&target.container, ticket, answer);
        self.settle(&target.container);
        self.delete_given_up(&target.container);
        while let Some(process) = self.process_mut(&target) {
            if process.doing.is_some() {
                break;
            }
            let Some((ticket, call)) = process.queue.pop() else { break };
            self.take_call(ticket, call);
        }
    }

    /// Answers the call that waits. If no call waits, a failure goes to the log.
    fn reply(&mut self, id: &Id, ticket: Option<Ticket>, answer: Result<Answer, Refusal>) {
        match (ticket, answer) {
            (Some(ticket), answer) => self.answer(ticket, answer),
            (None, Err(refusal)) => self.effects.push(Effect::Report(id.clone(), refusal)),
            (None, Ok(_)) => {}
        }
    }

    /// From now on the end of this process belongs to the target. The end may have been reported already.
    fn know(&mut self, pid: u32, target: Target) {
        match self.early.remove(&pid) {
            Some(exit) => {
                if let Some(process) = self.process_mut(&target) {
                    process.ended = Some(exit);
                }
            }
            None => {
                self.by_pid.insert(pid, target);
            }
        }
    }
}

impl Container {
    fn made(id: &Id, request: CreateTaskRequest, pid: u32, pids: Pids) -> (Self, TaskCreate) {
        let CreateTaskRequest {
            bundle, rootfs, terminal, stdin, stdout, stderr, checkpoint, ..
        } = request;
        let container_id = id.to_string();
        let io = TaskIO { stdin, stdout, stderr, terminal };
        let TaskIO { stdin, stdout, stderr, terminal } = io.clone();
        let streams = Streams { stdin, stdout, stderr, terminal };
        let io = Some(io);
        let event =
            TaskCreate { container_id, bundle: bundle.clone(), rootfs, io, checkpoint, pid };
        let container = Self {
            bundle,
            pids,
            init: Process::new(pid, streams),
            execs: std::collections::BTreeMap::new(),
            cleared: false,
            oom_waits: false,
            deleted: None,
            given_up: false,
        };
        (container, event)
    }
}

impl Process {
    pub(super) fn delete_response(&self) -> DeleteResponse {
        let end = self.end();
        DeleteResponse { pid: self.pid, exit_status: end.status, exited_at: Some(end.at) }
    }
}

impl super::Exit {
    pub(super) fn into_answer(self) -> Answer {
        Answer::Wait(WaitResponse { exit_status: self.status, exited_at: Some(self.at) })
    }
}

impl Work {
    /// Whether the work makes a process that may end before the result is reported.
    pub(super) fn makes_a_process(&self) -> bool {
        matches!(self, Self::Create(..) | Self::StartExec(..))
    }
}

impl Outcome {
    fn empty(self) -> Result<Answer, Refusal> {
        match self {
            Self::Done => Ok(Answer::Empty),
            other => Err(other.refusal()),
        }
    }

    fn refusal(self) -> Refusal {
        match self {
            Self::Failed(refusal) => refusal,
            _ => Refusal::WrongResult,
        }
    }
}
