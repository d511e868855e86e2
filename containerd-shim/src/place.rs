//! Where a shim listens, and where the state of its containers is.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use sharedroot_format::Digest;
use sharedroot_task::Id;
use sharedroot_task::start::RuntimeOptions;

/// The state root of containerd's own shim, below which each namespace has one. With the same state root, a container can be
/// found by the same command line, whichever shim made it.
const STATE_ROOT: &str = "/run/containerd/runc";

/// The file in a bundle that names the state root if the options gave another one.
const STATE_ROOT_FILE: &str = "sharedroot-state-root";

/// The directory of the sockets, which only root may enter.
pub fn socket_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("shim")
}

/// The socket of the shim that serves a container. Two containerd daemons, and two namespaces of one daemon, may have
/// containers of one ID. The name is a digest, because a socket's address has room for 107 bytes only (unix(7)).
pub fn socket(run_dir: &Path, containerd: &str, namespace: &Id, container: &Id) -> PathBuf {
    let name = Digest::of(format!("{containerd}\n{namespace}\n{container}").as_bytes()).hex();
    socket_dir(run_dir).join(&name[..32])
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

/// Whether a process listens at the socket.
pub fn is_served(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

#[cfg(test)]
mod tests {
    use sharedroot_task::messages::options::runc;

    use super::*;

    fn id(text: &str) -> Id {
        text.parse().unwrap()
    }

    #[test]
    fn each_container_of_each_namespace_has_a_socket_that_fits() {
        let long = id(&"a".repeat(76));
        let run_dir = Path::new("/run/sharedroot");
        let of = |containerd, namespace, container| {
            socket(run_dir, containerd, &id(namespace), &id(container))
        };
        let all = [of("/a", "n", "c"), of("/b", "n", "c"), of("/a", "m", "c"), of("/a", "n", "d")];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{all:?}");
        }
        let path = socket(run_dir, "/run/containerd/containerd.sock", &long, &long);
        assert!(path.as_os_str().len() <= 107, "{path:?}");
    }

    #[test]
    fn the_state_root_is_that_of_containerds_own_shim() {
        let root = |options| state_root(&options, &id("moby"));
        assert_eq!(root(RuntimeOptions::None), Path::new("/run/containerd/runc/moby"));
        let options = runc::Options { root: "/run/x".to_owned(), ..runc::Options::default() };
        assert_eq!(root(RuntimeOptions::Runc(options)), Path::new("/run/x/moby"));
    }
}
