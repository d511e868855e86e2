//! `delete`: containerd executes it for each container after its shim has gone, in whatever way, and reads how the container
//! ended. After an orderly end nothing is left to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sharedroot::verbs::{Debug, LifecycleError, VerbError, Verbs};
use sharedroot_task::messages::Timestamp;
use sharedroot_task::start::{Delete, Ended};

use crate::helper::rootfs::{self, RootfsError};
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
    forget_socket(&bundle, &place::socket_dir(verbs.run_dir()))?;
    Ok(Ended { pid, status: KILLED, at: now() }.print())
}

/// Removes the socket in `dir` that a killed server left.
fn forget_socket(bundle: &Path, dir: &Path) -> Result<(), DeleteError> {
    let address_file = bundle.join("address");
    let address = match std::fs::read_to_string(&address_file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(file("read", address_file))?,
    };
    let socket = Path::new(address.trim_start_matches("unix://"));
    if socket.parent() != Some(dir) || place::is_served(socket) {
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
