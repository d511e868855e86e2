//! `delete`: containerd executes it for each container after its shim has gone, in whatever way, and reads how the container
//! ended. After an orderly end nothing is left to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sharedroot::verbs::{Debug, LifecycleError, VerbError, Verbs};
use sharedroot_sys::chain::chain;
use sharedroot_task::Id;
use sharedroot_task::messages::Timestamp;
use sharedroot_task::start::{Delete, Ended};

use crate::helper::rootfs::{self, RootfsError};
use crate::own_call::{self, Answer, OwnCall};
use crate::place::ADDRESS_FILE;
use crate::{log, place};

/// SIGKILL as an exit status.
const KILLED: u32 = 137;

/// Something of the container is left.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The caller is not root, or the configuration cannot be used.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The container.
    #[error(transparent)]
    Verb(#[from] VerbError),
    /// The mounts of its rootfs.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A file.
    #[error("{step} {path}")]
    File {
        /// The operation.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Ends what a shim left of a container. Returns what containerd reads from standard output.
///
/// # Errors
/// [`DeleteError`].
pub fn delete(delete: &Delete) -> Result<Vec<u8>, DeleteError> {
    let bundle = match delete.bundle.as_str() {
        "" => std::env::current_dir().map_err(file("find", "."))?,
        bundle => PathBuf::from(bundle),
    };
    let root = place::kept_state_root(&bundle, &delete.namespace)
        .map_err(file("read the state root in", &bundle))?;
    let debug = if delete.debug { Debug::On } else { Debug::Off };
    let verbs = Verbs::load(&root)?.logging(log::of_bundle(&bundle), debug);
    let pid = verbs.init(delete.id.as_str());
    verbs.delete(delete.id.as_str(), &bundle)?;
    rootfs::unmount(&rootfs::of_bundle(&bundle))?;
    if let Some(socket) = socket_of(&bundle, &place::socket_dir(verbs.run_dir()))? {
        // What is left of the container is gone. A server that does not answer is another container's trouble, or will ask.
        if let Err(error) = tell_server(&socket, &delete.id) {
            log::warn(log::of_bundle(&bundle).as_ref(), format_args!("{}", chain(&error)));
        }
    }
    Ok(Ended { pid, status: KILLED, at: now() }.print())
}

/// The socket of the server, which is in `dir`. None if `start` did not come so far.
fn socket_of(bundle: &Path, dir: &Path) -> Result<Option<PathBuf>, DeleteError> {
    let address_file = bundle.join(ADDRESS_FILE);
    let address = match std::fs::read_to_string(&address_file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(file("read", address_file))?,
    };
    let socket = PathBuf::from(address.trim_start_matches("unix://"));
    Ok((socket.parent() == Some(dir)).then_some(socket))
}

/// Tells the server that nobody will ask for the container. Removes the socket if its server was killed.
fn tell_server(socket: &Path, id: &Id) -> Result<(), DeleteError> {
    let call = OwnCall::GiveUp { id: id.clone() };
    let ask = || own_call::ask(socket, &call).map_err(file("call the server at", socket));
    if ask()? != Answer::NoServer {
        return Ok(());
    }
    // A `start` may make the socket just now.
    let _lock = place::lock(socket).map_err(file("lock", socket))?;
    if ask()? != Answer::NoServer {
        return Ok(());
    }
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(file("remove", socket)(e)),
        _ => Ok(()),
    }
}

/// The time, as containerd has it.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}

fn file(step: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> DeleteError {
    let path = path.into();
    move |source| DeleteError::File { step, path, source }
}
