//! What is wrong with a label.

use super::ProcessLabel;

/// A label that cannot be used, or could not be set.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// Not `user:role:type:level`.
    #[error("{field}: {label:?} is not an SELinux context (user:role:type:level)")]
    Syntax {
        /// Where it was given.
        field: &'static str,
        /// What was given.
        label: String,
    },
    /// A label for many containers may not name the categories of one.
    #[error(
        "shared label {label:?} has categories or a range, so other containers could not read the base; \
         give one without, such as system_u:object_r:container_ro_file_t:s0"
    )]
    Categories {
        /// What was given.
        label: String,
    },
    /// As with runc: a label that nothing would enforce is an error.
    #[error("{field}: {label:?} is given, but SELinux is not enabled on this host")]
    Disabled {
        /// Where it was given.
        field: &'static str,
        /// What was given.
        label: String,
    },
    /// The policy's own files do not say which label read-only content has, or containers' processes.
    #[error(
        "no label of containers: there is no entry `{key}` in {looked}; install a policy that knows \
         containers (selinux-policy-default of Debian 13, container-selinux)"
    )]
    NoEntry {
        /// The key.
        key: &'static str,
        /// The files, and what is wrong with them.
        looked: String,
    },
    /// The loaded policy does not know the context.
    #[error(
        "{field}: the loaded SELinux policy does not know {label:?} (raw, as `id -Z` shows it without mcstransd), \
         or may not be asked (the domain of this process needs security check_context; see selinux-policy/)"
    )]
    Unknown {
        /// Where it was given.
        field: &'static str,
        /// What was given.
        label: String,
    },
    /// The loaded policy gave no answer.
    #[error(
        "ask the loaded SELinux policy what {process} may do with a {class} of {label}: {why} (the domain of this \
         process needs security compute_av and to read /sys/fs/selinux/class; see selinux-policy/)"
    )]
    Ask {
        /// The label of containers' processes.
        process: String,
        /// The object's label.
        label: String,
        /// The object class.
        class: &'static str,
        /// The library's words.
        why: String,
    },
    /// Containers could change what other containers read, or talk through it.
    #[error(
        "shared label {label}: the loaded policy lets containers ({process}) {permission} a {class} of it, so it does \
         not keep them apart; give one that they may only read, such as system_u:object_r:container_ro_file_t:s0"
    )]
    Writable {
        /// The shared label.
        label: String,
        /// The label of containers' processes.
        process: String,
        /// The object class.
        class: &'static str,
        /// The first permission that it should not have.
        permission: &'static str,
    },
    /// No program could be run from a base.
    #[error(
        "shared label {label}: the loaded policy does not let containers ({process}) {permission} a {class} of it, so none could \
         run from a base; give one that they may read and execute, such as system_u:object_r:container_ro_file_t:s0"
    )]
    Unusable {
        /// The shared label.
        label: String,
        /// The label of containers' processes.
        process: String,
        /// The object class.
        class: &'static str,
        /// The first permission that is missing.
        permission: &'static str,
    },
    /// A file of which the label cannot be read.
    #[error("read the label of {path}: {why}")]
    OfFile {
        /// The file.
        path: std::path::PathBuf,
        /// The library's words.
        why: String,
    },
    /// The kernel did not take the label for new keyrings.
    #[error("set the label {label} for new keyrings: {why}")]
    Keyring {
        /// The label.
        label: String,
        /// The library's or kernel's words.
        why: String,
    },
    /// The kernel did not take the label for the next execve.
    #[error("set the process label {label} for execve: {why}")]
    SetExec {
        /// The process label.
        label: ProcessLabel,
        /// The library's or kernel's words.
        why: String,
    },
}
