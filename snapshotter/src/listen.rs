//! The socket: systemd's (sd_listen_fds(3)), or a new one. Only root may connect.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketType, sockopt};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use sharedroot_sys::private_dir::{PrivateDirError, private_dir_or_link};

/// The descriptor of the first socket that systemd passes.
const FIRST: i32 = 3;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Neither systemd nor the command line names one.
    #[error("no socket: give --address PATH, or let systemd start sharedrootd by its socket unit")]
    None,
    /// systemd passed several.
    #[error("systemd passed {count} sockets, and sharedrootd listens on one")]
    Several {
        /// How many.
        count: String,
    },
    /// What systemd passed is no listening unix socket.
    #[error("the descriptor that systemd passed is no listening unix socket")]
    NotASocket,
    /// A system call on what systemd passed failed.
    #[error("{step} the socket that systemd passed")]
    Passed {
        /// The step.
        step: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The directory of the socket is no directory that only root can write.
    #[error("the directory of the socket {path}")]
    Directory {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: PrivateDirError,
    },
    /// Something else than a socket is in the way.
    #[error("{path} exists and is no socket; give another address")]
    InTheWay {
        /// The address.
        path: PathBuf,
    },
    /// A system call on the new socket failed.
    #[error("{step} the socket {path}")]
    File {
        /// The step.
        step: &'static str,
        /// The address.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Listens. `address` is that of the command line.
///
/// # Errors
/// [`ListenError`].
pub fn listen(address: Option<&Path>) -> Result<UnixListener, ListenError> {
    let listener = match address {
        Some(path) => at(path)?,
        None => passed()?,
    };
    let nonblocking = listener.set_nonblocking(true);
    nonblocking.map_err(|source| ListenError::Passed { step: "set up", source })?;
    Ok(listener)
}

/// A new socket. The caller holds the lock of the table, so a socket that is there is one of a process that ended.
fn at(path: &Path) -> Result<UnixListener, ListenError> {
    let file = |step| {
        let path = path.to_owned();
        move |source| ListenError::File { step, path, source }
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let private = private_dir_or_link(dir);
    private.map_err(|source| ListenError::Directory { path: path.to_owned(), source })?;
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            fs::remove_file(path).map_err(file("remove the old"))?;
        }
        Ok(_) => return Err(ListenError::InTheWay { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file("look for")(error)),
    }
    let listener = UnixListener::bind(path).map_err(file("make"))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(file("protect"))?;
    Ok(listener)
}

/// The socket that systemd passes.
fn passed() -> Result<UnixListener, ListenError> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    if variable("LISTEN_PID") != std::process::id().to_string() {
        return Err(ListenError::None);
    }
    match variable("LISTEN_FDS").as_str() {
        "1" => {}
        count => return Err(ListenError::Several { count: count.to_owned() }),
    }
    let fail = |step| move |source: io::Error| ListenError::Passed { step, source };
    // A copy with an owner, and closed in the programs that this one executes.
    let own = pidfd_open(getpid(), PidfdFlags::empty());
    let socket: OwnedFd = own
        .and_then(|own| pidfd_getfd(&own, FIRST, PidfdGetfdFlags::empty()))
        .map_err(|errno| fail("take")(errno.into()))?;
    nix::unistd::close(FIRST).map_err(|errno| fail("close")(errno.into()))?;
    let listens = sockopt::socket_acceptconn(&socket).unwrap_or(false)
        && sockopt::socket_domain(&socket) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(&socket) == Ok(SocketType::STREAM);
    if listens { Ok(socket.into()) } else { Err(ListenError::NotASocket) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_new_socket_takes_the_place_of_an_old_one_and_of_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/socket");
        drop(listen(Some(&path)).unwrap());
        assert!(UnixStream::connect(&path).is_err(), "nobody listens any more");
        let _again = listen(Some(&path)).unwrap();
        UnixStream::connect(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(listen(Some(&file)), Err(ListenError::InTheWay { .. })));
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let open = dir.path().join("socket");
        assert!(matches!(listen(Some(&open)), Err(ListenError::Directory { .. })));
        assert!(matches!(listen(None), Err(ListenError::None)));
    }
}
