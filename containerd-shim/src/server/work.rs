//! What the state machine wants done: at once, or by a helper.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;

use sharedroot_sys::process::has_unified_cgroups;
use sharedroot_task::messages::task::*;
use sharedroot_task::{Call, Code, Job, Outcome, Reach, Refusal, Target, Work};

use super::jobs::{Ended, Then};
use super::{Server, ends};
use crate::order::Order;
use crate::report::{Keep, Kind};
use crate::serve;

/// SIGKILL.
const KILL: u32 = 9;

impl Server {
    /// Begins some work. Returns its outcome if it is done at once.
    pub(super) fn work(&mut self, job: Job, work: Work) -> Option<Outcome> {
        if matches!(work, Work::Create(..) | Work::StartExec(..))
            && !self.limit.has_room(self.jobs.count())
        {
            return Some(self.no_room());
        }
        let (call, kind) = match work {
            Work::Create(_, request) => (Call::Create(*request), Kind::Create),
            Work::StartExec(_, request) => (Call::Exec(*request), Kind::Exec),
            Work::Pids(id) => (Call::Pids(PidsRequest { id: id.to_string() }), Kind::Pids),
            Work::Stats(id) => (Call::Stats(StatsRequest { id: id.to_string() }), Kind::Stats),
            Work::Kill { target, signal, reach: Reach::Process }
                if target.exec.is_some() || !needs_thaw(signal) =>
            {
                return Some(self.processes.kill(&target, signal));
            }
            Work::CloseInput(target) => {
                self.processes.close_input(&target);
                return Some(Outcome::Done);
            }
            // What was kept of an exec went with its process.
            Work::Delete(target @ Target { exec: Some(_), .. }) => return self.close(job, target),
            Work::Checkpoint(..) => return Some(unsupported("checkpoint")),
            Work::Resize { target, width, height } => {
                return Some(self.relays.resize(&target, width, height));
            }
            Work::StartInit(id) => (
                Call::Start(StartRequest { id: id.to_string(), ..Default::default() }),
                Kind::Other,
            ),
            Work::Delete(target @ Target { exec: None, .. }) => {
                let id = target.container.to_string();
                (Call::Delete(DeleteRequest { id, ..Default::default() }), Kind::Other)
            }
            Work::Pause(id) => (Call::Pause(PauseRequest { id: id.to_string() }), Kind::Other),
            Work::Resume(id) => (Call::Resume(ResumeRequest { id: id.to_string() }), Kind::Other),
            Work::Kill { target, signal, reach } => {
                let (id, all) = (target.container.to_string(), reach == Reach::Container);
                (Call::Kill(KillRequest { id, exec_id: String::new(), signal, all }), Kind::Other)
            }
            Work::Update(_, request) => (Call::Update(*request), Kind::Other),
        };
        let order = self.order(call);
        self.jobs.begin(order, Then::Tell(job, kind), &self.poll);
        None
    }

    fn no_room(&self) -> Outcome {
        let text = format!(
            "the server may have {} descriptors open, and needs them for its other containers; raise LimitNOFILE of \
             containerd's service, or set shim.group = \"pod\"",
            self.limit.most()
        );
        Outcome::Failed(Refusal::Failed { code: Code::ResourceExhausted, text })
    }

    /// An operation on the container of the call.
    fn order(&self, call: Call) -> Order {
        let bundle = match &call {
            Call::Create(request) => request.bundle.clone(),
            other => self.tasks.bundle(other.container()).unwrap_or_default().to_owned(),
        };
        Order { call, bundle: bundle.into() }
    }

    /// An operation has ended.
    pub(super) fn operation_ended(&mut self, ended: Ended) {
        let Ended { order: Order { call, bundle }, then, result } = ended;
        let (job, outcome) = match (then, result) {
            (Then::Tell(job, kind), Ok((report, mut kept))) => {
                let pid = report.pid;
                let mut outcome = report.outcome(kind);
                if matches!(outcome, Outcome::Created { .. } | Outcome::Started { .. })
                    && let Some(target) = target(&call)
                    && let Err(error) = self.take_process(pid, target, &mut kept)
                {
                    outcome = failed(format!("wait for process {pid}: {error}"));
                }
                if let (Call::Delete(_), Outcome::Done) = (&call, &outcome)
                    && let Some(target) = ends::container(call.container())
                {
                    let done = self.close(job, target).map(|outcome| (job, outcome));
                    return self.finish(done);
                }
                (job, outcome)
            }
            (Then::Tell(job, Kind::Create), Err(how)) => {
                // Something of the container may be there. Its record says what.
                let undo = DeleteRequest { id: call.container().to_owned(), ..Default::default() };
                let then = Then::Undone(job, how);
                let order = Order { call: Call::Delete(undo), bundle };
                self.jobs.begin(order, then, &self.poll);
                return self.finish(None);
            }
            (Then::Tell(job, _), Err(how)) => (job, failed(how)),
            (then @ Then::Undone(job, _), result) => {
                let done = result.and_then(|(report, _)| match report.failed {
                    Some(status) => Err(status.message),
                    None => Ok(()),
                });
                (job, undone(then, done))
            }
        };
        self.finish(Some((job, outcome)));
    }

    /// Tells the state machine what has come of an operation, if that is known now.
    fn finish(&mut self, done: Option<(Job, Outcome)>) {
        if let Some((job, outcome)) = done {
            let effects = self.tasks.done(job, outcome);
            self.apply(effects);
        }
        self.jobs.try_again();
        self.sweep();
    }

    /// Begins the operations whose turn has come.
    pub(super) fn begin_next(&mut self) {
        while let Some(ended) = self.jobs.begin_next(&self.poll) {
            self.operation_ended(ended);
        }
    }

    /// Takes over a process that a helper has made, with what is kept of it.
    fn take_process(
        &mut self,
        pid: u32,
        target: Target,
        kept: &mut Vec<(Keep, OwnedFd)>,
    ) -> io::Result<()> {
        self.relays.add(pid, &target, kept, &self.poll)?;
        for (keep, fd) in mem::take(kept) {
            match keep {
                Keep::MemoryEvents => self.memory.add(target.container.clone(), fd, &self.poll)?,
                Keep::Logger => self.loggers.add(target.clone(), fd, &self.poll)?,
                keep => kept.push((keep, fd)),
            }
        }
        self.processes.add(pid, target, mem::take(kept), &self.poll)
    }

    /// The spawner announces helpers, has room for more orders, or has ended: then there is another one.
    ///
    /// # Errors
    /// There is no other spawner.
    pub(super) fn announced(&mut self) -> io::Result<()> {
        let lost = match self.jobs.announced(&self.poll) {
            Ok(failed) => failed,
            Err(error) => {
                self.warn(format_args!("the spawner has ended: {error}; another one begins"));
                self.jobs
                    .use_spawner(serve::another_spawner(&self.orders, &self.limit)?, &self.poll)?
            }
        };
        for ended in lost {
            self.operation_ended(ended);
        }
        self.jobs.try_again();
        Ok(())
    }
}

/// A frozen process of cgroup v1 does not end by SIGKILL until it is thawed, which a helper does.
fn needs_thaw(signal: u32) -> bool {
    signal == KILL && !has_unified_cgroups()
}

fn undone(then: Then, result: Result<(), String>) -> Outcome {
    let Then::Undone(_, how) = then else { return Outcome::Failed(Refusal::WrongResult) };
    failed(match result {
        Ok(()) => how,
        Err(why) => format!("{how}; what it left could not be removed: {why}"),
    })
}

fn failed(text: String) -> Outcome {
    Outcome::Failed(Refusal::Failed { code: Code::Unknown, text })
}

fn unsupported(what: &'static str) -> Outcome {
    Outcome::Failed(Refusal::Unsupported(what))
}

/// The process that a call makes.
fn target(call: &Call) -> Option<Target> {
    let container = call.container().parse().ok()?;
    match call {
        Call::Create(_) => Some(Target { container, exec: None }),
        Call::Exec(request) => {
            Some(Target { container, exec: Some(request.exec_id.parse().ok()?) })
        }
        _ => None,
    }
}
