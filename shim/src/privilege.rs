//! Who may call the runtime: root of the host.
//!
//! Thin volumes, mounts that many containers share and device rules belong to the host's user namespace. A runtime that ran
//! rootless would share nothing, so it says so before it has done anything.

use std::io;

use nix::unistd::{Uid, geteuid};

/// The caller is somebody else.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// An ordinary user.
    #[error(
        "sharedroot works as root only, and was called by user {uid}: call it as root, or use runc or crun for rootless containers"
    )]
    User {
        /// The effective user ID.
        uid: Uid,
    },
    /// Root of a user namespace, such as a rootless engine makes.
    #[error(
        "sharedroot works in the host's user namespace only, and was called inside another one: call it as root of the host, or use runc or crun for rootless containers"
    )]
    UserNamespace,
    /// It cannot be told.
    #[error("read /proc/self/uid_map: {0}")]
    Unknown(#[from] io::Error),
}

/// Whether this process is root of the host.
///
/// # Errors
/// [`PrivilegeError`], which names the way out.
pub fn root_of_the_host() -> Result<(), PrivilegeError> {
    let uid = geteuid();
    if !uid.is_root() {
        return Err(PrivilegeError::User { uid });
    }
    if !is_initial(&std::fs::read_to_string("/proc/self/uid_map")?) {
        return Err(PrivilegeError::UserNamespace);
    }
    Ok(())
}

/// user_namespaces(7): in the initial one every user ID there is is mapped to itself.
fn is_initial(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_identity_is_the_hosts_map() {
        assert!(is_initial("         0          0 4294967295\n"));
        for other in [
            "",
            "         0       1000          1\n",
            "         0          0          1\n",
            "0 0 4294967295\n0 0 1\n",
            "         0     100000      65536\n",
        ] {
            assert!(!is_initial(other), "{other:?}");
        }
    }
}
