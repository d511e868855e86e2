//! Ends of processes, and what the kernel told before about the memory of their container: the kernel counts a kill before it
//! kills (mm/oom_kill.c, `__oom_kill_process`), so the OOM event comes before the exit event.

use sharedroot_task::{Exit, Id, Target};

use super::Server;
use crate::delete::now;

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
        if let Some(init) = self.memory.init_of(&target.container) {
            self.memory_changed(init);
        }
        let effects = self.tasks.ended(pid, exit);
        self.apply(effects);
    }

    /// The kernel may have killed a process because of its container's memory limit.
    pub(super) fn memory_changed(&mut self, init: u32) {
        if let Some(container) = self.memory.look(init, &self.poll) {
            let effects = self.tasks.oom(container.as_str());
            self.apply(effects);
        }
    }

    /// A container is deleted.
    pub(super) fn forget_memory(&mut self, container: &str) {
        if let Ok(container) = container.parse::<Id>() {
            self.memory.forget(&container, &self.poll);
        }
    }
}
