//! The server's process, from its first step on: it forks the spawner before anything else, and then serves.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::SigSet;
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::stdio::dup2_stdin;
use sharedroot_engine::close_inherited;
use sharedroot_sys::clone3::{Relation, fork};
use sharedroot_task::Id;

use crate::descriptors::{self, Limit};
use crate::server::Server;
use crate::{helper, log, spawner};

/// The program's name, in a list of processes.
pub const NAME: &str = "containerd-shim-sharedroot-v2";

/// The same as the kernel has it (proc_pid_comm(5)): it has room for 15 bytes, so containerd's own shim has this name, too.
const COMM: &CStr = c"containerd-shim";

/// The first word of the server's command line. containerd's shims have no such command.
pub const WORD: &str = "serve";

/// The first word of the command line of a spawner that is not forked, because the first one has ended.
const SPAWNER: &str = "spawner";

/// What `start` tells the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// containerd's namespace of the containers.
    pub namespace: Id,
    /// The first container.
    pub id: Id,
    /// The socket for events.
    pub ttrpc_address: String,
    /// The socket at which the server listens; it removes the socket at its end.
    pub socket: PathBuf,
    /// runc's `--root`.
    pub state_root: PathBuf,
    /// The bundle of the first container.
    pub bundle: PathBuf,
    /// Whether containerd's own log was at debug when the server began.
    pub debug: bool,
}

impl Orders {
    /// The words after [`WORD`].
    pub fn words(&self) -> [String; 7] {
        [
            self.namespace.to_string(),
            self.id.to_string(),
            self.ttrpc_address.clone(),
            self.socket.display().to_string(),
            self.state_root.display().to_string(),
            self.bundle.display().to_string(),
            self.debug.to_string(),
        ]
    }

    fn parse(words: &[String]) -> Option<Self> {
        let [namespace, id, ttrpc_address, socket, state_root, bundle, debug] = words else {
            return None;
        };
        Some(Self {
            namespace: namespace.parse().ok()?,
            id: id.parse().ok()?,
            ttrpc_address: ttrpc_address.clone(),
            socket: socket.into(),
            state_root: state_root.into(),
            bundle: bundle.into(),
            debug: debug.parse().ok()?,
        })
    }
}

/// Serves if the command line is a server's or a spawner's. None if it is another.
pub fn begin(words: &[String]) -> Option<ExitCode> {
    let (word, rest) = words.split_first()?;
    let does = match word.as_str() {
        WORD => serve,
        SPAWNER => spawn,
        _ => return None,
    };
    let orders = Orders::parse(rest)?;
    Some(match does(&orders) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let log = log::of_bundle(&orders.bundle);
            log::warn(log.as_ref(), format_args!("the {word} of {} ends: {error}", orders.id));
            ExitCode::FAILURE
        }
    })
}

fn serve(orders: &Orders) -> io::Result<()> {
    let listener = UnixListener::from(take_input()?);
    // Whatever containerd's caller left open would be open in the spawner and in each helper, too.
    close_inherited(0)?;
    // Else the name is that of the descriptor from which the program was executed.
    rustix::thread::set_name(COMM)?;
    // Both processes outlive the session of their caller, and helpers get the same OOM score.
    rustix::process::setsid()?;
    spare_from_oom();
    let (ours, theirs) = pair()?;
    if fork(None, Relation::Child)?.is_none() {
        drop((listener, ours));
        return spawner::run(theirs, |given| helper::help(orders, given));
    }
    drop(theirs);
    // A process that a helper leaves behind, such as the container's init process, becomes a child of the server.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let limit = descriptors::raise_limit()?;
    Server::new(orders, listener, ours, limit).and_then(Server::run)
}

fn spawn(orders: &Orders) -> io::Result<()> {
    // The server blocks SIGCHLD, and every container would have its mask.
    SigSet::empty().thread_set_mask()?;
    rustix::thread::set_name(COMM)?;
    spawner::run(take_input()?, |given| helper::help(orders, given))
}

/// Executes this program as a spawner. Returns its socket. It is not forked, because it must have nothing of the server's
/// memory and descriptors. `limit` is what the first one had.
///
/// # Errors
/// The program cannot be executed.
pub fn another_spawner(orders: &Orders, limit: &Limit) -> io::Result<OwnedFd> {
    let (ours, theirs) = pair()?;
    let mut spawner = Command::new("/proc/self/exe");
    spawner.arg0(NAME).arg(SPAWNER).args(orders.words());
    let spawner = spawner.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    // The spawner clones nothing before it is asked, so every container gets this limit.
    limit.give_to(spawner.id())?;
    Ok(ours)
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// The socket that is the standard input, which gives its place to /dev/null.
fn take_input() -> io::Result<OwnedFd> {
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let null: OwnedFd =
        rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    Ok(socket)
}

/// The kernel's OOM killer takes the shim before containerd, which was the parent: its score is one more, as with
/// containerd's own shim.
fn spare_from_oom() {
    let file = "/proc/self/oom_score_adj";
    let score = fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if let Some(score) = score.filter(|score| *score < 1000) {
        let _ = fs::write(file, (score + 1).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_command_line() {
        let orders = Orders {
            namespace: "moby".parse().unwrap(),
            id: "c1".parse().unwrap(),
            ttrpc_address: "/run/a b".to_owned(),
            socket: "/run/s".into(),
            state_root: "/run/r/moby".into(),
            bundle: "/run/b".into(),
            debug: true,
        };
        assert_eq!(Orders::parse(&orders.words()), Some(orders));
        assert_eq!(Orders::parse(&["moby".to_owned()]), None);
        assert!(begin(&["start".to_owned()]).is_none());
        assert!(begin(&[]).is_none());
    }
}
