//! A container tells the caller's service manager that the container is ready (sd_notify(3)), as with runc.
//!
//! `create` binds a directory of sharedroot's at `/run/notify` in the container, and `start` makes a socket in that
//! directory. Messages at the socket come from the container and are not passed on. For `READY=1` alone, sharedroot
//! sends the service manager a message of its own, which also says which process is the service's main process. Until
//! then `start` and `run` wait, because systemd takes a unit for failed if the unit's process ends before the unit is
//! ready.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signal::SigmaskHow;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use oci_spec::runtime::{MountBuilder, Spec};
use rustix::fs::{Mode, OFlags};

/// The environment variable with the path of the socket: the service manager's for this process, sharedroot's for the
/// container.
const VARIABLE: &str = "NOTIFY_SOCKET";
/// Where the directory is in the container, and the name of the socket in the directory. runc uses the same names.
const PLACE: &str = "/run/notify";
const SOCKET: &str = "notify.sock";
/// How long the service manager may take to read the message; runc waits as long.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest message that is read. The rest of a longer message is lost.
const LONGEST: usize = 4096;
/// The most messages that are read from a container that does not say that it is ready. After them sharedroot stops
/// reading.
const MOST: usize = 10_000;

/// The socket of a container, and the connection to the service manager.
#[derive(Debug)]
pub struct Relay {
    socket: UnixDatagram,
    manager: UnixDatagram,
    /// The container's init process.
    init: OwnedFd,
}

/// If the caller has a socket, adds the bind mount of `dir` and the environment variable to `spec`.
pub fn offer(spec: &mut Spec, dir: &Path) {
    if callers().is_none() {
        return;
    }
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned).to_vec();
    let mount = MountBuilder::default().destination(PLACE).source(dir).options(options).build();
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.extend(mount);
    spec.set_mounts(Some(mounts));
    if let Some(process) = spec.process_mut() {
        let mut env = process.env().clone().unwrap_or_default();
        env.push(format!("{VARIABLE}={PLACE}/{SOCKET}"));
        process.set_env(Some(env));
    }
}

/// Makes the directory `dir` of [`offer`], if the caller has a socket.
///
/// # Errors
/// mkdir(2)'s.
pub fn make(dir: &Path) -> io::Result<()> {
    if callers().is_none() {
        return Ok(());
    }
    DirBuilder::new().mode(0o755).create(dir)?;
    // The mode does not depend on the caller's umask.
    fs::set_permissions(dir, Permissions::from_mode(0o755))
}

/// The address of the caller's socket: a path, or a name that begins with `@`. Other kinds are for virtual machines.
fn callers() -> Option<SocketAddr> {
    address(&std::env::var_os(VARIABLE)?)
}

fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(name).ok(),
        _ => None,
    }
}

impl Relay {
    /// Makes the socket in `dir`, before the container's program runs: afterwards the container may put another file
    /// there. `None` if `create` offered no socket, or if the caller of this command has none.
    ///
    /// # Errors
    /// The service manager cannot be reached, or the socket cannot be made.
    pub fn open(dir: &Path, init: OwnedFd) -> io::Result<Option<Self>> {
        let Some(address) = callers() else { return Ok(None) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match rustix::fs::open(dir, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            opened => opened?,
        };
        let manager = UnixDatagram::unbound()?;
        manager.connect_addr(&address)?;
        manager.set_write_timeout(Some(PATIENCE))?;
        // The socket's absolute path may be longer than a socket address can be (unix(7)).
        let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
        let socket = UnixDatagram::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        socket.set_nonblocking(true)?;
        Ok(Some(Self { socket, manager, init }))
    }

    /// Waits until the container is ready or ends. If it is ready, tells the service manager so, and that `main` is the
    /// service's main process.
    ///
    /// # Errors
    /// The operating system's error.
    pub fn run(&self, main: u32) -> io::Result<()> {
        let mut text = [0; LONGEST];
        for _ in 0..MOST {
            let mut watched = [self.socket.as_fd(), self.init.as_fd()]
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut watched, PollTimeout::NONE) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let has_ended = watched[1].revents().is_some_and(|found| !found.is_empty());
            match self.socket.recv(&mut text) {
                Ok(length) if is_ready(&text[..length]) => return self.tell(main),
                // What the container sent before its end is read first.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && has_ended => return Ok(()),
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Does the work of [`Self::run`] on another thread, while this thread takes the signals.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn run_aside(self, main: u32) -> io::Result<std::thread::JoinHandle<io::Result<()>>> {
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let started = std::thread::Builder::new().spawn(move || self.run(main));
        before.thread_set_mask()?;
        started
    }

    fn tell(&self, main: u32) -> io::Result<()> {
        self.manager.send(b"READY=1\n")?;
        self.manager.send(format!("MAINPID={main}\n").as_bytes())?;
        // systemd asks for the sender's cgroup when systemd reads the message. So this process may end only after that
        // (sd_notify_barrier(3)).
        let (end, held) = io::pipe()?;
        let (barrier, descriptors) = ([IoSlice::new(b"BARRIER=1")], [held.as_raw_fd()]);
        let passed = [ControlMessage::ScmRights(&descriptors)];
        let manager = self.manager.as_raw_fd();
        sendmsg::<()>(manager, &barrier, &passed, MsgFlags::empty(), None)?;
        drop(held);
        let patience = PollTimeout::try_from(PATIENCE).map_err(io::Error::other)?;
        poll(&mut [PollFd::new(end.as_fd(), PollFlags::POLLIN)], patience)?;
        Ok(())
    }
}

/// Whether one of the lines of the message is `READY=1`.
fn is_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ready_is_ready() {
        for text in [&b"READY=1"[..], b"STATUS=up\nREADY=1\n", b"READY=1\nMAINPID=1\n"] {
            assert!(is_ready(text));
        }
        for text in [&b""[..], b"READY=0", b"READY=10", b"NOTREADY=1", b"MAINPID=1\n", b"\0READY=1"]
        {
            assert!(!is_ready(text));
        }
    }

    #[test]
    fn a_socket_has_a_path_or_a_name() {
        let address = |name: &str| address(OsStr::new(name));
        assert!(address("/run/n").unwrap().as_pathname().is_some());
        assert_eq!(address("@name").unwrap().as_abstract_name(), Some(&b"name"[..]));
        for wrong in ["", "@", "name", "vsock:2:1"] {
            assert!(address(wrong).is_none(), "{wrong}");
        }
        assert!(address(&format!("/{}", "x".repeat(200))).is_none());
    }
}
