//! Where a shim listens, and where the state of its containers is.

use std::io;
use std::path::{Path, PathBuf};

use sharedroot_sys::byte_lock::ByteLock;
use sharedroot_task::Id;
use sharedroot_task::start::RuntimeOptions;

/// The state root of containerd's own shim, below which each namespace has one. With the same state root, a container can be
/// found by the same command line, whichever shim made it.
const STATE_ROOT: &str = "/run/containerd/runc";

/// The file in a bundle that names the state root if the options gave another one.
const STATE_ROOT_FILE: &str = "sharedroot-state-root";

/// The file in a bundle with the address of the server, as with containerd's own shim.
pub const ADDRESS_FILE: &str = "address";

/// The directory of the sockets, which only root may enter.
pub fn socket_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("shim")
}

/// The file in that directory whose bytes are the locks of the sockets. No socket has this name.
const LOCKS: &str = "lock";

/// Whoever has this lock may remove a socket that no server serves, and make one at its place. A server needs no lock to remove
/// its own socket, because the socket is served then.
///
/// # Errors
/// fcntl(2)'s.
pub fn lock(socket: &Path) -> io::Result<ByteLock> {
    let name = socket.file_name().and_then(|name| name.to_str()).and_then(|name| name.get(..16));
    let byte = name.and_then(|name| u64::from_str_radix(name, 16).ok());
    let byte = byte.ok_or_else(|| io::Error::other("this is no socket of a server"))?;
    ByteLock::wait(&socket.with_file_name(LOCKS), (byte >> 1).cast_signed())
}

/// The state root (runc's `--root`) of the containers of a namespace, by the options of the runtime.
pub fn state_root(options: &RuntimeOptions, namespace: &Id) -> PathBuf {
    let root = match options {
        RuntimeOptions::Runc(options) if !options.root.is_empty() => &options.root,
        _ => STATE_ROOT,
    };
    Path::new(root).join(namespace.as_str())
}

/// Keeps the state root for `delete`, which gets no options.
///
/// # Errors
/// The file cannot be written.
pub fn keep_state_root(bundle: &Path, root: &Path) -> io::Result<()> {
    std::fs::write(bundle.join(STATE_ROOT_FILE), root.as_os_str().as_encoded_bytes())
}

/// The state root that [`keep_state_root`] kept, else the default one.
///
/// # Errors
/// The file cannot be read.
pub fn kept_state_root(bundle: &Path, namespace: &Id) -> io::Result<PathBuf> {
    match std::fs::read_to_string(bundle.join(STATE_ROOT_FILE)) {
        Ok(root) => Ok(root.into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Ok(state_root(&RuntimeOptions::None, namespace))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use sharedroot_task::messages::options::runc;

    use super::*;

    fn id(text: &str) -> Id {
        text.parse().unwrap()
    }

    #[test]
    fn each_socket_has_a_lock() {
        let dir = std::env::temp_dir().join(format!("shim-place-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let [one, other] = ["f", "0"].map(|digit| dir.join(digit.repeat(32)));
        let held = lock(&one).unwrap();
        drop(lock(&other).unwrap());
        let byte = (u64::MAX >> 1).cast_signed();
        assert!(ByteLock::try_lock(&dir.join(LOCKS), byte).unwrap().is_none());
        drop(held);
        drop(lock(&one).unwrap());
        assert!(lock(&dir.join("x")).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_state_root_is_that_of_containerds_own_shim() {
        let root = |options| state_root(&options, &id("moby"));
        assert_eq!(root(RuntimeOptions::None), Path::new("/run/containerd/runc/moby"));
        let options = runc::Options { root: "/run/x".to_owned(), ..runc::Options::default() };
        assert_eq!(root(RuntimeOptions::Runc(options)), Path::new("/run/x/moby"));
    }
}
