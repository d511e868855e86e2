//! A call is refused, answered, queued behind other work on its process, or turned into work.

use super::addressed::{no_exec, target};
use super::container::{Doing, Exec, Process, State, Streams};
use super::effect::Work;
use super::held::ExecRequest;
use super::machine::Tasks;
use super::refusal::Refusal;
use super::rules;
use super::target::{Reach, Target, Ticket};
use crate::messages::event::TaskExecAdded;
use crate::messages::task::*;
use crate::{Answer, Call, Event, Id, Method};

/// What follows from a call that is not refused.
enum Next {
    Answer(Answer),
    Work(Work, Option<Doing>),
    /// The end of the process will answer the call.
    Wait,
}

/// The largest signal number, SIGRTMAX.
const MAX_SIGNAL: u32 = 64;

impl Tasks {
    pub(super) fn take_call(&mut self, ticket: Ticket, call: Call) {
        match call {
            Call::Create(request) => self.create(ticket, request),
            Call::Connect(request) => {
                let task = self.containers.get(request.id.as_str());
                let answer = ConnectResponse {
                    shim_pid: self.shim,
                    task_pid: task.map_or(0, |task| task.init.pid),
                    version: String::new(),
                };
                self.answer(ticket, Ok(Answer::Connect(answer)));
            }
            Call::Shutdown(request) => {
                self.answer(ticket, Ok(Answer::Empty));
                self.announced.remove(request.id.as_str());
                self.end_if_unused();
            }
            call => self.take_call_of_container(ticket, call),
        }
    }

    fn create(&mut self, ticket: Ticket, request: CreateTaskRequest) {
        let checked = request.id.parse::<Id>().map_err(Refusal::from).and_then(|id| {
            if self.ending {
                return Err(Refusal::Ending);
            }
            if self.containers.contains_key(&id) || self.creating.contains(&id) {
                return Err(Refusal::ContainerExists(id));
            }
            if !request.checkpoint.is_empty() {
                return Err(Refusal::Unsupported("restore from a checkpoint"));
            }
            Ok(id)
        });
        match checked {
            Err(refusal) => self.answer(ticket, Err(refusal)),
            Ok(id) => {
                self.announced.remove(&id);
                self.creating.insert(id.clone());
                self.run(Some(ticket), Work::Create(id, Box::new(request)));
            }
        }
    }

    fn take_call_of_container(&mut self, ticket: Ticket, call: Call) {
        let Some((id, container)) = self.containers.get_key_value(call.container()) else {
            return self.answer(ticket, Err(Refusal::NoContainer));
        };
        let target = match target(id, &call) {
            Ok(target) => target,
            Err(refusal) => return self.answer(ticket, Err(refusal)),
        };
        let exec = target.exec.as_ref().map(Id::as_str);
        let Some(process) = container.process(exec) else {
            let refusal = no_exec(call.method(), exec.unwrap_or_default());
            return self.answer(ticket, Err(refusal));
        };
        if process.doing.is_some() && is_one_at_a_time(call.method()) {
            if let Err(refusal) = self.has_room_for(&call) {
                return self.answer(ticket, Err(refusal));
            }
            let queue = self.process_mut(&target).map(|process| &mut process.queue);
            return queue.into_iter().for_each(|queue| queue.push(ticket, &call));
        }
        match self.decide(&target, call) {
            Err(refusal) => self.answer(ticket, Err(refusal)),
            Ok(Next::Answer(answer)) => self.answer(ticket, Ok(answer)),
            Ok(Next::Work(work, doing)) => {
                let process = self.process_mut(&target).into_iter();
                process.for_each(|process| process.doing = doing.or(process.doing));
                self.run(Some(ticket), work);
            }
            Ok(Next::Wait) => {
                let process = self.process_mut(&target).into_iter();
                process.for_each(|process| process.waits.push(ticket));
            }
        }
    }

    /// Decides about a call to an existing process on which no other work is done.
    fn decide(&mut self, target: &Target, call: Call) -> Result<Next, Refusal> {
        let id = target.container.clone();
        let other = |work| Ok(Next::Work(work, Some(Doing::Other)));
        let beside = |work| Ok(Next::Work(work, None));
        match call {
            Call::State(_) => self.state(target).map(Next::Answer),
            Call::Wait(_) => self.wait(target),
            Call::Exec(request) => {
                self.add_exec(&id, &request).map(|()| Next::Answer(Answer::Empty))
            }
            Call::Kill(request) => self.kill(target, &request),
            Call::ResizePty(request) => self.resize(target, &request),
            Call::CloseIO(_) => {
                if self.process(target)?.streams.stdin.is_empty() {
                    return Ok(Next::Answer(Answer::Empty));
                }
                beside(Work::CloseInput(target.clone()))
            }
            Call::Pids(_) => beside(Work::Pids(id)),
            Call::Stats(_) => beside(Work::Stats(id)),
            Call::Start(_) => self.start(target),
            Call::Delete(_) => {
                self.allowed(Method::Delete, target)?;
                Ok(Next::Work(Work::Delete(target.clone()), Some(Doing::Delete)))
            }
            Call::Pause(_) => {
                self.allowed(Method::Pause, target)?;
                Ok(Next::Work(Work::Pause(id), Some(Doing::Pause)))
            }
            Call::Resume(_) => {
                self.allowed(Method::Resume, target)?;
                other(Work::Resume(id))
            }
            Call::Update(request) => {
                self.allowed(Method::Update, target)?;
                if request.resources.is_none() {
                    return Err(Refusal::Missing("resources"));
                }
                other(Work::Update(id, Box::new(request)))
            }
            Call::Checkpoint(request) => {
                self.allowed(Method::Checkpoint, target)?;
                other(Work::Checkpoint(id, Box::new(request)))
            }
            Call::Create(_) | Call::Connect(_) | Call::Shutdown(_) => Err(Refusal::NoContainer),
        }
    }

    fn allowed(&self, method: Method, target: &Target) -> Result<(), Refusal> {
        let state = self.process(target)?.state;
        match target.exec {
            None => rules::of_init(method, state),
            Some(_) => rules::of_exec(method, state),
        }
    }

    fn start(&mut self, target: &Target) -> Result<Next, Refusal> {
        let container = self.containers.get_mut(&target.container).ok_or(Refusal::NoContainer)?;
        let Some(id) = &target.exec else {
            self.allowed(Method::Start, target)?;
            return Ok(Next::Work(Work::StartInit(target.container.clone()), Some(Doing::Start)));
        };
        let has_ended = container.init.ended.is_some() || container.init.state == State::Stopped;
        if has_ended || container.deleted.is_some() || container.given_up {
            return Err(Refusal::InitEnded(target.container.clone()));
        }
        self.allowed(Method::Start, target)?;
        let execs =
            self.containers.get_mut(&target.container).map(|container| &mut container.execs);
        let exec = execs.and_then(|execs| execs.get_mut(id));
        let exec = exec.ok_or_else(|| Refusal::NoExec(id.to_string()))?;
        let request = exec.request.take().ok_or_else(|| Refusal::StartFailed(id.clone()))?;
        Ok(Next::Work(Work::StartExec(target.clone(), request), Some(Doing::Start)))
    }

    fn add_exec(&mut self, id: &Id, request: &ExecProcessRequest) -> Result<(), Refusal> {
        let exec_id: Id = request.exec_id.parse()?;
        let container = self.containers.get(id).ok_or(Refusal::NoContainer)?;
        if container.execs.contains_key(&exec_id) {
            return Err(Refusal::ExecExists(exec_id));
        }
        rules::of_init(Method::Exec, container.init.state)?;
        if request.spec.is_none() {
            return Err(Refusal::Missing("process"));
        }
        let streams = Streams {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let exec = Exec { process: Process::new(0, streams), request: ExecRequest::new(request) };
        self.has_room_for_exec(&exec)?;
        let container = self.containers.get_mut(id).ok_or(Refusal::NoContainer)?;
        container.execs.insert(exec_id.clone(), exec);
        let event = TaskExecAdded { container_id: id.to_string(), exec_id: exec_id.to_string() };
        self.effects.push(super::Effect::Publish(Event::ExecAdded(event)));
        Ok(())
    }

    fn kill(&self, target: &Target, request: &KillRequest) -> Result<Next, Refusal> {
        let signal = request.signal;
        if signal > MAX_SIGNAL {
            return Err(Refusal::BadNumber { what: "signal", number: signal });
        }
        self.allowed(Method::Kill, target)?;
        let reach = match request.all && target.exec.is_none() {
            true => Reach::Container,
            false => Reach::Process,
        };
        let process = self.process(target)?;
        let has_ended = process.ended.is_some() || process.state == State::Stopped;
        if has_ended && reach == Reach::Process {
            return Err(Refusal::Finished);
        }
        let work = Work::Kill { target: target.clone(), signal, reach };
        Ok(Next::Work(work, Some(Doing::Other)))
    }

    fn resize(&self, target: &Target, request: &ResizePtyRequest) -> Result<Next, Refusal> {
        let number = |what, number: u32| {
            u16::try_from(number).map_err(|_| Refusal::BadNumber { what, number })
        };
        let (width, height) = (number("width", request.width)?, number("height", request.height)?);
        let has_terminal = self.process(target)?.streams.terminal;
        if target.exec.is_some() || has_terminal {
            self.allowed(Method::ResizePty, target)?;
        }
        if !has_terminal || self.process(target)?.pid == 0 {
            return Ok(Next::Answer(Answer::Empty));
        }
        let work = Work::Resize { target: target.clone(), width, height };
        Ok(Next::Work(work, Some(Doing::Other)))
    }

    fn wait(&self, target: &Target) -> Result<Next, Refusal> {
        let exit = self.process(target)?.exit;
        Ok(exit.map_or(Next::Wait, |exit| Next::Answer(exit.into_answer())))
    }

    fn state(&self, target: &Target) -> Result<Answer, Refusal> {
        let container = self.containers.get(&target.container).ok_or(Refusal::NoContainer)?;
        let process = self.process(target)?;
        let (end, streams) = (process.end(), process.streams.clone());
        Ok(Answer::State(StateResponse {
            id: target.exec.as_ref().unwrap_or(&target.container).to_string(),
            bundle: container.bundle.clone(),
            pid: process.pid,
            status: container.status(process).into(),
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
            terminal: streams.terminal,
            exit_status: end.status,
            exited_at: Some(end.at),
            exec_id: String::new(),
        }))
    }

    pub(super) fn process(&self, target: &Target) -> Result<&Process, Refusal> {
        let container = self.containers.get(&target.container).ok_or(Refusal::NoContainer)?;
        let exec = target.exec.as_ref().map(Id::as_str);
        container.process(exec).ok_or_else(|| Refusal::NoExec(exec.unwrap_or_default().to_owned()))
    }

    pub(super) fn process_mut(&mut self, target: &Target) -> Option<&mut Process> {
        let container = self.containers.get_mut(&target.container)?;
        container.process_mut(target.exec.as_ref().map(Id::as_str))
    }
}

/// Whether the call waits for other work on its process. These are the methods that hold the process's lock in the Go shim.
fn is_one_at_a_time(method: Method) -> bool {
    use Method::*;
    matches!(
        method,
        Start | Delete | Kill | Pause | Resume | Update | Checkpoint | Exec | ResizePty
    )
}
