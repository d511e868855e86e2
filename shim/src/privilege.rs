//! Only root of the host may call the runtime.
//!
//! Thin volumes, shared mounts and device rules belong to the user namespace of the host. A rootless runtime could share
//! nothing, so this program refuses to run rootless before it does anything.

use std::io;

use nix::unistd::{Uid, geteuid};

/// The caller is not root of the host.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The caller is an ordinary user.
    #[error(
        "sharedroot works as root only, and was called by user {uid}: call it as root, or use runc or crun for rootless containers"
    )]
    User {
        /// The effective user ID.
        uid: Uid,
    },
    /// The caller is root of another user namespace, such as a rootless engine makes.
    #[error(
        "sharedroot works in the host's user namespace only, and was called inside another one: call it as root of the host, or use runc or crun for rootless containers"
    )]
    UserNamespace,
    /// The user namespace of the caller cannot be determined.
    #[error("read /proc/self/uid_map")]
    Unknown(#[from] io::Error),
}

/// Checks that this process is root of the host.
///
/// # Errors
/// [`PrivilegeError`], whose message says what to do.
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

/// Whether this is the map of the initial user namespace, which maps every user ID to itself (user_namespaces(7)).
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
