//! What is wrong with a label, or with the question for one.

use super::ProcessLabel;

/// A label that cannot be used, read or set.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// The text is not `user:role:type:level`.
    #[error("{field}: {label:?} is not an SELinux context (user:role:type:level)")]
    Syntax {
        /// The field or option that gives the label.
        field: &'static str,
        /// The label, as it was given.
        label: String,
    },
    /// The label for many containers has the categories of one container.
    #[error(
        "shared label {label:?} has categories or a range, so other containers could not read the base; \
         give one without, such as system_u:object_r:container_ro_file_t:s0"
    )]
    Categories {
        /// The label, as it was given.
        label: String,
    },
    /// A label is given on a host where nothing would enforce it. This is an error of runc's, too.
    #[error("{field}: {label:?} is given, but SELinux is not enabled on this host")]
    Disabled {
        /// The field or option that gives the label.
        field: &'static str,
        /// The label, as it was given.
        label: String,
    },
    /// The files of the policy do not say which label read-only content has, or which the processes of containers have.
    #[error(
        "no label of containers: there is no entry `{key}` in {looked}; install a policy that knows \
         containers (selinux-policy-default of Debian 13, container-selinux)"
    )]
    NoEntry {
        /// The key that no file has.
        key: &'static str,
        /// The files, each with the reason if it cannot be read.
        looked: String,
    },
    /// The loaded policy does not know the label, or did not answer.
    #[error(
        "{field}: the loaded SELinux policy does not know {label:?} (raw, as `id -Z` shows it without mcstransd), \
         or may not be asked (the domain of this process needs security check_context; see selinux-policy/)"
    )]
    Unknown {
        /// The field or option that gives the label.
        field: &'static str,
        /// The label, as it was given.
        label: String,
    },
    /// The loaded policy did not say what is allowed.
    #[error(
        "ask the loaded SELinux policy what {process} may do with a {class} of {label}: {why} (the domain of this \
         process needs security compute_av and to read /sys/fs/selinux/class; see selinux-policy/)"
    )]
    Ask {
        /// The label of the processes of containers.
        process: String,
        /// The label of the object.
        label: String,
        /// The object class.
        class: &'static str,
        /// The words of libselinux.
        why: String,
    },
    /// Containers could change what other containers read, or exchange data through it.
    #[error(
        "shared label {label}: the loaded policy lets containers ({process}) {permission} a {class} of it, so it does \
         not keep them apart; give one that they may only read, such as system_u:object_r:container_ro_file_t:s0"
    )]
    Writable {
        /// The shared label.
        label: String,
        /// The label of the processes of containers.
        process: String,
        /// The object class.
        class: &'static str,
        /// The first permission that containers have and should not have.
        permission: &'static str,
    },
    /// Containers could run no program from a base.
    #[error(
        "shared label {label}: the loaded policy does not let containers ({process}) {permission} a {class} of it, so none could \
         run from a base; give one that they may read and execute, such as system_u:object_r:container_ro_file_t:s0"
    )]
    Unusable {
        /// The shared label.
        label: String,
        /// The label of the processes of containers.
        process: String,
        /// The object class.
        class: &'static str,
        /// The first permission that containers need and do not have.
        permission: &'static str,
    },
    /// The label of a file cannot be read.
    #[error("read the label of {path}: {why}")]
    OfFile {
        /// The file.
        path: std::path::PathBuf,
        /// The words of libselinux or of the kernel.
        why: String,
    },
    /// The kernel did not take the label for new keyrings.
    #[error("set the label {label} for new keyrings: {why}")]
    Keyring {
        /// The label.
        label: String,
        /// The words of libselinux or of the kernel.
        why: String,
    },
    /// The kernel did not take the label for the next execve.
    #[error("set the process label {label} for execve: {why}")]
    SetExec {
        /// The process label.
        label: ProcessLabel,
        /// The words of libpathrs or of the kernel.
        why: String,
    },
}
