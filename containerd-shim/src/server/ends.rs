//! Ends of processes, of their streams, and of what the kernel tells about the memory of their container.
//!
//! The kernel counts a kill before it kills (mm/oom_kill.c, `__oom_kill_process`), so the OOM event comes before the exit event.

use std::time::{Duration, Instant};

use sharedroot_task::{Exit, Id, Job, Outcome, Target};

use super::Server;
use crate::delete::now;

/// How long `Delete` waits for output that is on its way, as with containerd's own shim.
const PATIENCE: Duration = Duration::from_secs(2);

/// A `Delete` that is done but for the output of the process, which is still on its way.
#[derive(Debug)]
pub(super) struct Closing {
    job: Job,
    target: Target,
    /// When the rest of the output is given up.
    until: Instant,
}

impl Server {
    /// The process of a container may have ended.
    pub(super) fn process_ended(&mut self, pid: u32) {
        if let Some((target, exit)) = self.processes.ended(pid, now(), &self.poll) {
            self.tell_end(pid, &target, exit);
        }
    }

    /// Waits for children that nobody waits for, if no operation is under way.
    pub(super) fn sweep(&mut self) {
        if !self.jobs.is_idle() {
            return;
        }
        for (pid, target, exit) in self.processes.sweep(now(), &self.poll) {
            self.tell_end(pid, &target, exit);
        }
    }

    fn tell_end(&mut self, pid: u32, target: &Target, exit: Exit) {
        self.relays.process_ended(pid, &self.poll);
        if let Some(watch) = self.memory.of(&target.container) {
            self.memory_changed(watch);
        }
        let effects = self.tasks.ended(pid, exit);
        self.apply(effects);
    }

    /// The kernel may have killed a process because of its container's memory limit.
    pub(super) fn memory_changed(&mut self, watch: u64) {
        if let Some(container) = self.memory.look(watch, &self.poll) {
            let effects = self.tasks.oom(container.as_str());
            self.apply(effects);
        }
    }

    /// Forgets what is kept of a deleted process, or of a deleted container. The job ends, now or later, when no output is on
    /// its way any more.
    pub(super) fn close(&mut self, job: Job, target: Target) -> Option<Outcome> {
        if target.exec.is_none() {
            self.memory.forget(&target.container, &self.poll);
        }
        if !self.relays.has(&target) && !self.loggers.has(&target) {
            return Some(Outcome::Done);
        }
        let until = Instant::now() + PATIENCE;
        self.loggers.end(&target, until);
        self.closing.push(Closing { job, target, until });
        None
    }

    /// Gives up output whose time is over, and ends the jobs that waited for output.
    pub(super) fn advance_closing(&mut self) {
        if self.closing.is_empty() {
            return;
        }
        let now = Instant::now();
        self.loggers.signal(now);
        for closing in self.closing.iter().filter(|closing| closing.until <= now) {
            self.relays.forget(&closing.target, &self.poll);
        }
        let is_done = |closing: &mut Closing| {
            !self.relays.has(&closing.target) && !self.loggers.has(&closing.target)
        };
        let done: Vec<_> = self.closing.extract_if(.., is_done).collect();
        for closing in done {
            let effects = self.tasks.done(closing.job, Outcome::Done);
            self.apply(effects);
        }
    }

    /// When [`Self::advance_closing`] has something to do, if nothing happens before.
    pub(super) fn next_closing(&self) -> Option<Instant> {
        let relayed = self.closing.iter().filter(|closing| self.relays.has(&closing.target));
        relayed.map(|closing| closing.until).chain(self.loggers.next()).min()
    }
}

/// The container of a call, as a target.
pub(super) fn container(id: &str) -> Option<Target> {
    Some(Target { container: id.parse::<Id>().ok()?, exec: None })
}
