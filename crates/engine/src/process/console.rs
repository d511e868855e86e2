//! The terminal of a container's process, on its way from the engine to the caller.
//!
//! The engine makes the pty inside the container and sends its master. It sends the master to sharedroot first.
//! sharedroot sets owner and size while the process still waits, because later the container's program could put any
//! file at the terminal's path. What sharedroot changes is the slave that the kernel opens for the master (TIOCGPTPEER,
//! ioctl_tty(2)), never a file found by path.

use std::fs::{File, Permissions};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use oci_spec::runtime::{Process, Spec};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::{Winsize, tcsetwinsize};

use super::stdio::give;
use crate::spec::id_mappings::host_uid;

/// The message that is sent with a master, as runc sends it.
const NAME: &[u8] = b"/dev/ptmx";

/// A terminal could not be passed on.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The process sent no terminal.
    #[error("take the terminal from the process")]
    Taken(#[source] io::Error),
    /// The descriptor that the process sent is not a pty.
    #[error("find the slave of the terminal")]
    Slave(#[source] io::Error),
    /// The caller's socket does not take the terminal.
    #[error("send the terminal to {socket}")]
    Send {
        /// The caller's socket.
        socket: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Both ends of the engine's socket. The engine runs in a child of this process.
#[derive(Debug)]
pub struct Console<'a> {
    callers: &'a Path,
    ours: UnixStream,
    engines: UnixStream,
}

impl<'a> Console<'a> {
    /// Prepares for the terminal that the caller waits for at the socket `callers`.
    ///
    /// # Errors
    /// socketpair(2)'s.
    pub fn new(callers: &'a Path) -> io::Result<Self> {
        let (ours, engines) = UnixStream::pair()?;
        Ok(Self { callers, ours, engines })
    }

    /// The descriptor by which the engine sends the terminal.
    pub fn engines(&self) -> RawFd {
        self.engines.as_raw_fd()
    }

    /// In the child: closes this process's end, so that the child has the engine's end only.
    ///
    /// # Errors
    /// close(2)'s.
    pub fn close_ours(&self) -> nix::Result<()> {
        nix::unistd::close(self.ours.as_raw_fd())
    }

    /// In the parent: passes the terminal to the caller, after the engine sent it and before the process may go on.
    ///
    /// # Errors
    /// [`ConsoleError`]; then the caller must end the process.
    pub fn hand_over(self, spec: &Spec, process: &Process) -> Result<(), ConsoleError> {
        // If the child ends without sending, the next read must end. So this end of the child's is closed.
        drop(self.engines);
        pass_on(self.ours.as_fd(), self.callers, spec, process)
    }
}

/// The socket for an engine that needs a path and forks by itself.
#[derive(Debug)]
pub struct NamedConsole<'a> {
    callers: &'a Path,
    path: PathBuf,
    listener: UnixListener,
}

impl<'a> NamedConsole<'a> {
    /// Listens in `dir`, which only root may enter.
    ///
    /// # Errors
    /// open(2)'s and bind(2)'s.
    pub fn new(callers: &'a Path, dir: &Path) -> io::Result<Self> {
        let name = "console.sock";
        // The socket's path may be longer than a socket address can be.
        let open = File::open(dir)?;
        let by_descriptor = format!("/proc/self/fd/{}/{name}", open.as_raw_fd());
        let listener = UnixListener::bind(&by_descriptor)?;
        std::fs::set_permissions(&by_descriptor, Permissions::from_mode(0o600))?;
        Ok(Self { callers, path: dir.join(name), listener })
    }

    /// The path to which the engine sends the terminal.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Passes the terminal on, as [`Console::hand_over`] does, after the engine connected.
    ///
    /// # Errors
    /// [`ConsoleError`].
    pub fn hand_over(self, spec: &Spec, process: &Process) -> Result<(), ConsoleError> {
        self.listener.set_nonblocking(true).map_err(ConsoleError::Taken)?;
        let (ours, _) = self.listener.accept().map_err(ConsoleError::Taken)?;
        pass_on(ours.as_fd(), self.callers, spec, process)
    }
}

fn pass_on(
    from: BorrowedFd<'_>,
    to: &Path,
    spec: &Spec,
    process: &Process,
) -> Result<(), ConsoleError> {
    let master = receive(from).map_err(ConsoleError::Taken)?;
    settle(&master, spec, process).map_err(ConsoleError::Slave)?;
    send(&master, to).map_err(|source| ConsoleError::Send { socket: to.to_owned(), source })
}

/// Gives the terminal to the user of `process`, and sets the size that the configuration asks for. The engine does
/// neither.
fn settle(master: &OwnedFd, spec: &Spec, process: &Process) -> io::Result<()> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(master, flags)?;
    if let Some(uid) = host_uid(spec, process.user().uid()) {
        give(slave.as_fd(), uid);
    }
    if let Some(size) = process.console_size() {
        let cells = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
        let (ws_row, ws_col) = (cells(size.height()), cells(size.width()));
        if (ws_row, ws_col) != (0, 0) {
            tcsetwinsize(&slave, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })?;
        }
    }
    Ok(())
}

fn receive(from: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut name = [0_u8; 64];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(from, &mut [IoSliceMut::new(&mut name)], &mut control, flags)?;
    let mut sent = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    sent.next().ok_or_else(|| io::Error::other("the process sent no terminal"))
}

fn send(master: &OwnedFd, to: &Path) -> io::Result<()> {
    // The path goes by a descriptor, because it may be longer than a socket address can be.
    let flags = (OFlag::O_PATH | OFlag::O_CLOEXEC).bits();
    let socket = File::options().read(true).custom_flags(flags).open(to)?;
    let stream = UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd()))?;
    let descriptors = [master.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(&stream, &[IoSlice::new(NAME)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(what: &OwnedFd) -> (UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let descriptors = [what.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(&theirs, &[IoSlice::new(NAME)], &mut control, SendFlags::empty()).unwrap();
        (ours, theirs)
    }

    fn parts(size: &str) -> (Spec, Process) {
        let process = format!(r#"{{"cwd":"/","args":["x"],"user":{{"uid":0,"gid":0}}{size}}}"#);
        let spec = serde_json::from_str(r#"{"ociVersion":"1.2.0","linux":{}}"#).unwrap();
        (spec, serde_json::from_str(&process).unwrap())
    }

    #[test]
    fn what_is_no_pty_is_refused() {
        let file = OwnedFd::from(File::open("/dev/null").unwrap());
        let (ours, _theirs) = sent(&file);
        let (spec, process) = parts("");
        let refused = pass_on(ours.as_fd(), Path::new("/nowhere"), &spec, &process).unwrap_err();
        assert!(matches!(refused, ConsoleError::Slave(_)), "{refused}");
    }

    #[test]
    fn a_process_that_ended_sends_nothing() {
        let console = Console::new(Path::new("/nowhere")).unwrap();
        let (spec, process) = parts("");
        let refused = console.hand_over(&spec, &process).unwrap_err();
        assert!(matches!(refused, ConsoleError::Taken(_)), "{refused}");
    }

    #[test]
    fn a_terminal_has_its_size_before_the_caller_has_it() {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let (ours, _theirs) = sent(&master);
        let dir = std::env::temp_dir().join(format!("sharedroot-console-{}", std::process::id()));
        let listener = UnixListener::bind(&dir).unwrap();
        let (spec, process) = parts(r#","consoleSize":{"height":33,"width":99}"#);
        let passed = pass_on(ours.as_fd(), &dir, &spec, &process);
        std::fs::remove_file(&dir).unwrap();
        passed.unwrap();
        let (caller, _) = listener.accept().unwrap();
        let got = rustix::termios::tcgetwinsize(receive(caller.as_fd()).unwrap()).unwrap();
        assert_eq!((got.ws_row, got.ws_col), (33, 99));
    }
}
