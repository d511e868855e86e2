//! libcontainer's state of a container, read again by each command, and the container's init process in it.
//!
//! The state has a process ID. By the time a command reads it, that number may belong to another process. So when the init
//! process started is recorded beside it, and compared.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libcontainer::container::state::StateError;
use libcontainer::container::{Container, ContainerStatus};
use libcontainer::error::LibcontainerError;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use sharedroot_sys::process::started;

use super::container::Embedded;
use crate::container::cgroup;
use crate::container::members::PidNamespace;
use crate::{EngineError, engine_log};

/// The file beside the configuration that records the init process: when it started, and its number.
const STARTED: &str = "init-started";

/// How long another command may take to write the engine's state file of a container. The engine truncates the file
/// first, and then writes it in place.
const WRITING: Duration = Duration::from_secs(5);

/// Reads the engine's directory of a container. If the state file is no JSON, another command is writing it: the file ends too
/// early, or what was read is the beginning of one state and the end of the next.
fn read(dir: &Path) -> Result<Container, LibcontainerError> {
    let end = Instant::now() + WRITING;
    loop {
        match Container::load(dir.to_owned()) {
            Err(LibcontainerError::State(StateError::ParseStateFile { source, .. }))
                if !source.is_data() && !source.is_io() && Instant::now() < end =>
            {
                // The engine has logged this as an error. If the log kept the error, a later failure would have it as
                // the reason.
                engine_log::forget();
                sleep(Duration::from_millis(5));
            }
            // The container's process ended while the engine read its entries in /proc.
            Err(LibcontainerError::Procfs(_)) if Instant::now() < end => {}
            read => return read,
        }
    }
}

/// Gives the container a process ID that no process has (proc_sys_kernel(5), `pid_max`), and the status "stopped".
pub(super) fn forget(container: &mut Container) {
    container.set_pid(i32::MAX).set_status(ContainerStatus::Stopped);
}

impl Embedded {
    /// The engine's state of the container.
    ///
    /// # Errors
    /// [`EngineError::NotFound`], [`EngineError::Engine`].
    pub fn load(&self, verb: &'static str) -> Result<Container, EngineError> {
        if !self.exists() {
            return Err(EngineError::NotFound { id: self.id().clone() });
        }
        let mut container = read(&self.dir()).map_err(self.fail(verb))?;
        let others = container.pid().map(|pid| self.is_others(pid.as_raw())).transpose();
        let fail = |e| EngineError::Engine {
            verb,
            id: self.id().clone(),
            why: format!("see when its process started: {e}"),
        };
        if others.map_err(fail)? == Some(true) {
            // By now another process has the number, which is not the container's; or the owner is unknown, because
            // `create` died before it recorded when its process started.
            forget(&mut container);
        }
        self.ask_for_frozen(&mut container);
        Ok(container)
    }

    /// Whether the container is paused is what its cgroup says, as with runc: a `pause` may have ended before it recorded that,
    /// and a process that is cloned into a frozen cgroup never runs.
    fn ask_for_frozen(&self, container: &mut Container) {
        if !matches!(container.status(), ContainerStatus::Running | ContainerStatus::Paused) {
            return;
        }
        match self.own_cgroup(container).and_then(|dir| cgroup::is_frozen(&dir)) {
            Some(true) => container.set_status(ContainerStatus::Paused),
            Some(false) => container.set_status(ContainerStatus::Running),
            None => container,
        };
    }

    /// The container that this process has just made. No process has waited for the init process yet, so its number
    /// cannot belong to another process.
    pub(crate) fn load_new(&self) -> Result<Container, EngineError> {
        read(&self.dir()).map_err(self.fail("create"))
    }

    /// The container's init process; `None` if it has ended. The descriptor is opened first, and the number's owner is
    /// compared afterwards, so that the descriptor cannot be that of a later process with the same number.
    ///
    /// # Errors
    /// pidfd_open(2)'s.
    pub(crate) fn hold(&self, container: &Container) -> std::io::Result<Option<OwnedFd>> {
        self.hold_number(container.pid().map(|pid| pid.as_raw()))
    }

    /// The init process by the number that `create` recorded, for a container whose state cannot be read.
    ///
    /// # Errors
    /// Those of [`Self::hold`].
    pub(super) fn hold_recorded(&self) -> std::io::Result<Option<OwnedFd>> {
        self.hold_number(self.recorded()?.and_then(|known| known.pid))
    }

    fn hold_number(&self, number: Option<i32>) -> std::io::Result<Option<OwnedFd>> {
        let Some(pid) = number.and_then(Pid::from_raw) else { return Ok(None) };
        let held = match pidfd_open(pid, PidfdFlags::empty()) {
            // INVAL: Linux before 6.15 returns it for a process that has ended and whose number still names a session
            // or a group.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            held => held?,
        };
        Ok(self.is_init(pid.as_raw_nonzero().get())?.then_some(held))
    }

    /// Whether `pid` is the number of the init process that `create` made.
    ///
    /// # Errors
    /// The operating system's: then nobody knows, and the process must not count as ended.
    pub(crate) fn is_init(&self, pid: i32) -> std::io::Result<bool> {
        let (known, now) = (self.recorded()?, started(pid)?);
        Ok(known.zip(now).is_some_and(|(known, now)| known.started == now))
    }

    /// Whether `pid` is the number of a process that is not known to be the one that `create` made.
    fn is_others(&self, pid: i32) -> std::io::Result<bool> {
        let known = self.recorded()?;
        Ok(started(pid)?.is_some_and(|now| known.is_none_or(|known| now != known.started)))
    }

    /// Records the init process.
    pub(super) fn record_init(&self, init: &InitRecord) -> std::io::Result<()> {
        std::fs::write(self.bundle().join(STARTED), init.to_string())
    }

    /// The init process that `create` recorded; `None` if `create` died before that.
    pub(crate) fn recorded(&self) -> std::io::Result<Option<InitRecord>> {
        match std::fs::read_to_string(self.bundle().join(STARTED)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => Ok(Some(InitRecord::parse(&read?))),
        }
    }
}

/// The words of the record for the two kinds of PID namespaces.
const OWN: &str = "own";
const SHARED: &str = "shared";

/// What `create` records of the init process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InitRecord {
    /// When the process started, in clock ticks after boot.
    pub started: String,
    /// Its number in the host's PID namespace. A container of an earlier version has none.
    pub pid: Option<i32>,
    /// The PID namespace of the container. A container of an earlier version has none.
    pub pids: Option<PidNamespace>,
    /// The inode of its cgroup of version 2.
    pub cgroup: Option<u64>,
}

impl InitRecord {
    fn parse(text: &str) -> Self {
        let mut words = text.split(' ');
        let started = words.next().unwrap_or_default().to_owned();
        let pid = words.next().and_then(|word| word.parse().ok());
        let pids = match words.next() {
            Some(OWN) => Some(PidNamespace::Own),
            Some(SHARED) => Some(PidNamespace::Shared),
            _ => None,
        };
        Self { started, pid, pids, cgroup: words.next().and_then(|word| word.parse().ok()) }
    }
}

impl fmt::Display for InitRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.started)?;
        let Some(pid) = self.pid else { return Ok(()) };
        write!(f, " {pid}")?;
        match self.pids {
            Some(PidNamespace::Own) => write!(f, " {OWN}")?,
            Some(PidNamespace::Shared) => write!(f, " {SHARED}")?,
            None => return Ok(()),
        }
        self.cgroup.map_or(Ok(()), |cgroup| write!(f, " {cgroup}"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use libcontainer::container::State;

    use super::*;

    /// What a reader finds beside a writer: the beginning of the new state, or the old one and the end of a longer new one.
    #[test]
    fn a_state_is_read_when_another_command_has_written_it() {
        let dir = std::env::temp_dir().join(format!("sharedroot-state-{}", std::process::id()));
        fs::create_dir(&dir).expect("make a directory");
        let state = State::new("c", ContainerStatus::Created, None, "/b".into());
        let whole = serde_json::to_string(&state).expect("JSON");
        for part in [String::new(), whole[..20].to_owned(), format!("{whole}null}}")] {
            fs::write(State::file_path(&dir), &part).expect("write a part");
            std::thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    sleep(Duration::from_millis(50));
                    state.save(&dir)
                });
                assert_eq!(read(&dir).expect("a state").id(), "c", "{part}");
                writer.join().expect("the writer").expect("save");
            });
        }
        fs::remove_dir_all(&dir).expect("remove the directory");
    }

    #[test]
    fn a_record_reads_back() {
        let (own, shared) = (Some(PidNamespace::Own), Some(PidNamespace::Shared));
        for (text, pid, pids, cgroup) in [
            ("12345 7 own 4294967301", Some(7), own, Some(4_294_967_301)),
            ("12345 7 shared", Some(7), shared, None),
            ("12345 7", Some(7), None, None),
            ("12345", None, None, None),
        ] {
            let record = InitRecord { started: "12345".to_owned(), pid, pids, cgroup };
            assert_eq!((record.to_string().as_str(), InitRecord::parse(text)), (text, record));
        }
    }
}
