//! What the kernel tells about the memory of containers: how often it killed a process, because the container or a cgroup below
//! it had reached its limit. For each container the server has one descriptor, of `memory.events` (cgroup-v2.rst). The kernel
//! tells a change by EPOLLPRI, and at most once in 10 ms (kernel/cgroup/cgroup.c, `CGROUP_FILE_NOTIFY_MIN_INTV`).

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::pread;
use sharedroot_task::Id;

use super::poll::{Poll, Token};

/// More than the kernel writes: six names with a number each.
const MOST: usize = 1024;

/// The counts of one container.
#[derive(Debug)]
struct Watched {
    container: Id,
    events: OwnedFd,
    /// How many kills are known.
    kills: u64,
}

/// The containers whose memory is watched, by the numbers of the watches.
#[derive(Debug, Default)]
pub struct Memory {
    last: u64,
    by_number: BTreeMap<u64, Watched>,
}

impl Memory {
    /// Watches the `memory.events` of a new container.
    ///
    /// # Errors
    /// The file cannot be waited for.
    pub fn add(&mut self, container: Id, events: OwnedFd, poll: &Poll) -> io::Result<()> {
        self.last += 1;
        poll.add_urgent(&events, Token::Memory(self.last))?;
        self.by_number.insert(self.last, Watched { container, events, kills: 0 });
        Ok(())
    }

    /// Looks at the counts again. Returns the container if the kernel killed a process since the last look.
    pub fn look(&mut self, number: u64, poll: &Poll) -> Option<Id> {
        let watched = self.by_number.get_mut(&number)?;
        let Ok(kills) = kills(&watched.events) else {
            // The cgroup is gone. The kernel would tell that again and again.
            self.remove(number, poll);
            return None;
        };
        let more = kills > watched.kills;
        watched.kills = watched.kills.max(kills);
        more.then(|| watched.container.clone())
    }

    /// The watch of a container.
    pub fn of(&self, container: &Id) -> Option<u64> {
        let mut all = self.by_number.iter();
        all.find(|(_, watched)| watched.container == *container).map(|(number, _)| *number)
    }

    /// Watches a container no more.
    pub fn forget(&mut self, container: &Id, poll: &Poll) {
        if let Some(number) = self.of(container) {
            self.remove(number, poll);
        }
    }

    fn remove(&mut self, number: u64, poll: &Poll) {
        if let Some(watched) = self.by_number.remove(&number) {
            poll.forget(&watched.events);
        }
    }
}

/// The number of kills. Reading also ends what the kernel tells by EPOLLPRI.
fn kills(events: &OwnedFd) -> io::Result<u64> {
    let mut text = [0; MOST];
    let read = pread(events, &mut text, 0)?;
    let text = String::from_utf8_lossy(&text[..read]);
    let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    Ok(kills.and_then(|kills| kills.parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_kill_is_told_once() {
        let path = std::env::temp_dir().join(format!("shim-memory-{}", std::process::id()));
        let write = |kills: u64| {
            fs::write(&path, format!("low 0\nmax 9\noom 9\noom_kill {kills}\noom_group_kill 7\n"))
                .unwrap();
        };
        write(0);
        let poll = Poll::new().unwrap();
        let mut memory = Memory::default();
        let id: Id = "c1".parse().unwrap();
        // epoll(7) takes no file of a disk: what the kernel tells is for the guests of the lab.
        let watched =
            Watched { container: id.clone(), events: File::open(&path).unwrap().into(), kills: 0 };
        memory.by_number.insert(7, watched);
        assert_eq!(memory.of(&id), Some(7));
        assert_eq!(memory.look(7, &poll), None);
        write(2);
        assert_eq!(memory.look(7, &poll), Some(id.clone()));
        assert_eq!(memory.look(7, &poll), None);
        write(3);
        assert_eq!(memory.look(7, &poll), Some(id.clone()));
        memory.forget(&id, &poll);
        assert_eq!(memory.of(&id), None);
        fs::remove_file(path).unwrap();
    }
}
