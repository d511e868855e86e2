//! A field of the configuration that cannot be honoured.

use std::path::PathBuf;

use sharedroot_label::LabelError;

use crate::seccomp::program::SeccompError;

/// A part of config.json that this engine cannot honour.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The engine does not do it, and leaving it out would be unsafe or wrong.
    #[error("{field}: {value} is not supported by the embedded engine; {remedy}")]
    Unsupported {
        /// The field's path in config.json.
        field: String,
        /// What is given there.
        value: String,
        /// What to do instead.
        remedy: &'static str,
    },
    /// Limits of memory that do not go together.
    #[error("linux.resources.memory: {why}")]
    Memory {
        /// In runc's words.
        why: &'static str,
    },
    /// Others are in the cgroup: limits, pause and kill of the container would be theirs, too.
    #[error(
        "linux.cgroupsPath: container's cgroup is not empty: {path} has the process {process}; end what is in \
         it, or name a cgroup of the container's own"
    )]
    CgroupInUse {
        /// As it is in config.json.
        path: PathBuf,
        /// One of them.
        process: i32,
    },
    /// A container in it could not even begin.
    #[error(
        "linux.cgroupsPath: {path} is frozen; thaw it, or name a cgroup of the container's own"
    )]
    CgroupFrozen {
        /// As it is in config.json.
        path: PathBuf,
    },
    /// A seccomp filter that cannot be made.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// A label that is malformed or that nothing would enforce.
    #[error(transparent)]
    Label(#[from] LabelError),
}
