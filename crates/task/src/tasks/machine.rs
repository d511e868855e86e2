//! The state, and the functions that all inputs use.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use super::container::{Container, Doing, Exit};
use super::effect::{Effect, Job, Work};
use super::refusal::Refusal;
use super::target::{Target, Ticket};
use crate::messages::event::TaskOOM;
use crate::{Answer, Call, Event, Id};

/// The tasks of one containerd namespace. Every input returns the effects, in their order.
#[derive(Debug, Default)]
pub struct Tasks {
    pub(super) shim: u32,
    pub(super) containers: BTreeMap<Id, Container>,
    /// IDs of containers that are being made.
    pub(super) creating: BTreeSet<Id>,
    /// Containers whose `Create` will come, with their bundles.
    pub(super) announced: BTreeMap<Id, String>,
    /// IDs of containers that containerd gave up while there was work on them.
    pub(super) given_up: BTreeSet<Id>,
    /// Whether the end of the shim is decided.
    pub(super) ending: bool,
    pub(super) jobs: BTreeMap<Job, Running>,
    last_job: u64,
    /// Processes that have not ended. The kernel uses a process ID again only after the end was reported.
    pub(super) by_pid: BTreeMap<u32, Target>,
    /// Ends of processes that are still unknown. They are kept while unfinished work may make processes.
    pub(super) early: BTreeMap<u32, Exit>,
    pub(super) effects: Vec<Effect>,
}

/// Unfinished work.
#[derive(Debug)]
pub(super) struct Running {
    pub work: Work,
    /// The call that waits for the work.
    pub ticket: Option<Ticket>,
}

impl Tasks {
    /// No tasks yet; `shim` is the shim's own process ID.
    #[must_use]
    pub fn new(shim: u32) -> Self {
        Self { shim, ..Self::default() }
    }

    /// Handles a call of a client.
    pub fn call(&mut self, ticket: Ticket, call: Call) -> Vec<Effect> {
        self.take_call(ticket, call);
        self.take_effects()
    }

    /// Handles the result of work. A job that is not unfinished work changes nothing.
    pub fn done(&mut self, job: Job, outcome: super::Outcome) -> Vec<Effect> {
        self.take_outcome(job, outcome);
        self.take_effects()
    }

    /// Handles the end of a child of the shim. Do not report the ends of the shim's helpers: an unknown process may be a
    /// process whose start was not reported yet, and its end is kept while such work is unfinished. If the kernel uses the
    /// number again within that time, the first end is taken for the second process, as in the Go shim.
    pub fn ended(&mut self, pid: u32, exit: Exit) -> Vec<Effect> {
        self.take_end(pid, exit);
        self.take_effects()
    }

    /// The kernel killed a process of the container because of its memory limit. The event waits for the start event of the
    /// init process, if the start is under way.
    pub fn oom(&mut self, container: &str) -> Vec<Effect> {
        if let Some((id, container)) = self.containers.get_key_value(container) {
            let id = id.clone();
            match container.init.doing {
                Some(Doing::Start) => self.oom_waits(&id),
                _ => self.publish_oom(&id),
            }
        }
        self.take_effects()
    }

    fn oom_waits(&mut self, id: &Id) {
        let container = self.containers.get_mut(id).into_iter();
        container.for_each(|container| container.oom_waits = true);
    }

    /// Publishes that the kernel killed, if the event waited for the start.
    pub(super) fn publish_waiting_oom(&mut self, id: &Id) {
        let container = self.containers.get_mut(id);
        if container.is_some_and(|container| mem::take(&mut container.oom_waits)) {
            self.publish_oom(id);
        }
    }

    fn publish_oom(&mut self, id: &Id) {
        let event = TaskOOM { container_id: id.to_string() };
        self.effects.push(Effect::Publish(Event::Oom(event)));
    }

    /// A connection has ended. Nobody waits for its answers any more, and the calls that wait for their process are forgotten.
    /// Unfinished work goes on.
    pub fn disconnected(&mut self, connection: u64) {
        for container in self.containers.values_mut() {
            let execs = container.execs.values_mut().map(|exec| &mut exec.process);
            for process in execs.chain([&mut container.init]) {
                process.waits.retain(|ticket| ticket.connection != connection);
                process.queue.forget(connection);
            }
        }
    }

    /// Whether there is no container, and none is being made or announced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.creating.is_empty() && self.announced.is_empty()
    }

    pub(super) fn answer(&mut self, ticket: Ticket, answer: Result<Answer, Refusal>) {
        self.effects.push(Effect::Answer(ticket, answer));
    }

    pub(super) fn run(&mut self, ticket: Option<Ticket>, work: Work) {
        self.last_job += 1;
        let job = Job(self.last_job);
        self.effects.push(Effect::Run(job, work.clone()));
        self.jobs.insert(job, Running { work, ticket });
    }

    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        mem::take(&mut self.effects)
    }
}
