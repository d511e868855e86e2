//! The state, and what all inputs share.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use super::container::{Container, Exit};
use super::effect::{Effect, Job, Work};
use super::refusal::Refusal;
use super::target::{Target, Ticket};
use crate::messages::event::TaskOOM;
use crate::{Answer, Call, Event, Id};

/// The tasks of one containerd namespace. Every input gives the effects, in their order.
#[derive(Debug, Default)]
pub struct Tasks {
    pub(super) shim: u32,
    pub(super) containers: BTreeMap<Id, Container>,
    /// IDs whose container is being made.
    pub(super) creating: BTreeSet<Id>,
    pub(super) jobs: BTreeMap<Job, Running>,
    last_job: u64,
    /// Processes that have not ended. The kernel gives a process ID again only after the end was told.
    pub(super) by_pid: BTreeMap<u32, Target>,
    /// Ends of processes that nobody knows yet, kept while work is under way that makes processes.
    pub(super) early: BTreeMap<u32, Exit>,
    pub(super) effects: Vec<Effect>,
}

/// Work under way.
#[derive(Debug)]
pub(super) struct Running {
    pub work: Work,
    /// Who waits for it.
    pub ticket: Option<Ticket>,
}

impl Tasks {
    /// None yet; `shim` is the shim's own process ID.
    #[must_use]
    pub fn new(shim: u32) -> Self {
        Self { shim, ..Self::default() }
    }

    /// A call of a client.
    pub fn call(&mut self, ticket: Ticket, call: Call) -> Vec<Effect> {
        self.take_call(ticket, call);
        self.take_effects()
    }

    /// Work has ended. A job that is not under way changes nothing.
    pub fn done(&mut self, job: Job, outcome: super::Outcome) -> Vec<Effect> {
        self.take_outcome(job, outcome);
        self.take_effects()
    }

    /// A child of the shim has ended. Do not tell the ends of the shim's helpers: an unknown process may be one whose start
    /// has not been told yet. Its end is kept while such work is under way. If the kernel gives the number again within that
    /// time, the first end is taken for the second process, as in the Go shim.
    pub fn ended(&mut self, pid: u32, exit: Exit) -> Vec<Effect> {
        self.take_end(pid, exit);
        self.take_effects()
    }

    /// The kernel killed a process of the container for its memory limit.
    pub fn oom(&mut self, container: &str) -> Vec<Effect> {
        if let Some((id, _)) = self.containers.get_key_value(container) {
            let event = TaskOOM { container_id: id.to_string() };
            self.effects.push(Effect::Publish(Event::Oom(event)));
        }
        self.take_effects()
    }

    /// A connection has ended: nobody waits there any more, and the calls that wait for their process are forgotten. Work under
    /// way goes on.
    pub fn disconnected(&mut self, connection: u64) {
        for container in self.containers.values_mut() {
            let execs = container.execs.values_mut().map(|exec| &mut exec.process);
            for process in execs.chain([&mut container.init]) {
                process.waits.retain(|ticket| ticket.connection != connection);
                process.queue.forget(connection);
            }
        }
    }

    /// Whether there is no container, and none is being made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.creating.is_empty()
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

    fn take_effects(&mut self) -> Vec<Effect> {
        mem::take(&mut self.effects)
    }
}
