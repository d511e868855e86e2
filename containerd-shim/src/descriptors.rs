//! How many descriptors the server may have open. A container takes up to six as long as it runs (its connection, its process,
//! `memory.events` and three streams), and an exec up to four. Relayed streams take up to nine, a terminal up to seven. An
//! operation takes three while it is under way.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The most descriptors that a server asks for: with more, the kernel's own table of them takes megabytes.
const MOST: u64 = 1 << 20;

/// The descriptors of an operation under way, and of what it leaves in the server.
const OF_OPERATION: u64 = 15;

/// What is left for all that is no new process: connections, events, messages, another spawner.
const RESERVE: u64 = 64;

/// The limit of this process, before and after it was raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    given: Rlimit,
    raised: u64,
}

/// Raises the soft limit of this process. Processes that were made before, and whatever they make, keep theirs.
///
/// # Errors
/// setrlimit(2)'s.
pub fn raise_limit() -> io::Result<Limit> {
    let given = getrlimit(Resource::Nofile);
    let soft = given.current.unwrap_or(MOST);
    let raised = soft.max(given.maximum.unwrap_or(MOST).min(MOST));
    setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: given.maximum })?;
    Ok(Limit { given, raised })
}

impl Limit {
    /// Gives another process the limit that this one had.
    ///
    /// # Errors
    /// prlimit(2)'s.
    pub fn give_to(&self, pid: u32) -> io::Result<()> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        prlimit(pid, Resource::Nofile, self.given)?;
        Ok(())
    }

    /// Whether one more operation finds the descriptors that it needs while `running` others are under way.
    pub fn has_room(&self, running: usize) -> bool {
        let running = u64::try_from(running).unwrap_or(u64::MAX);
        let needed = running.saturating_add(1).saturating_mul(OF_OPERATION);
        open().is_none_or(|open| open.saturating_add(needed).saturating_add(RESERVE) <= self.raised)
    }

    /// The limit.
    pub fn most(&self) -> u64 {
        self.raised
    }
}

/// How many descriptors this process has open.
fn open() -> Option<u64> {
    // Since Linux 6.2 the directory's size is their number, before it is 0.
    match fs::metadata("/proc/self/fd").ok()?.size() {
        0 => fs::read_dir("/proc/self/fd").ok()?.count().try_into().ok(),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_needs_room_beside_those_under_way() {
        let given = getrlimit(Resource::Nofile);
        let open = open().unwrap();
        assert!(open >= 3, "{open}");
        // Other tests open and close some.
        let limit = |more| Limit { given, raised: open + more };
        assert!(limit(300).has_room(2) && !limit(300).has_room(60));
        assert!(!limit(0).has_room(0) && !limit(300).has_room(usize::MAX));
    }

    #[test]
    fn a_raised_limit_can_be_given_back() {
        let limit = raise_limit().unwrap();
        assert!(limit.most() >= limit.given.current.unwrap_or(0));
        assert_eq!(getrlimit(Resource::Nofile).current, Some(limit.raised));
        limit.give_to(std::process::id()).unwrap();
        assert_eq!(getrlimit(Resource::Nofile), limit.given);
    }
}
