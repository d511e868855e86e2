//! A field of the configuration that the engine cannot honour.

use std::path::PathBuf;

use sharedroot_label::LabelError;

use crate::seccomp::program::SeccompError;

/// The engine cannot honour a part of config.json.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The engine does not support the value, and a container without it would be unsafe or wrong.
    #[error("{field}: {value} is not supported by the embedded engine; {remedy}")]
    Unsupported {
        /// The field's path in config.json.
        field: String,
        /// The value in the configuration.
        value: String,
        /// The remedy.
        remedy: &'static str,
    },
    /// The memory limits contradict each other.
    #[error("linux.resources.memory: {why}")]
    Memory {
        /// The reason, in runc's words.
        why: &'static str,
    },
    /// Other processes are in the cgroup: the container's limits, pause and kill would apply to them, too.
    #[error(
        "linux.cgroupsPath: container's cgroup is not empty: {path} has the process {process}; end the \
         processes in it, or name a cgroup of the container's own"
    )]
    CgroupInUse {
        /// The path in config.json.
        path: PathBuf,
        /// One of these processes.
        process: i32,
    },
    /// systemd has a unit of this name elsewhere: the container would be in that unit.
    #[error(
        "linux.cgroupsPath: {path} is the unit {unit}, and systemd has a unit of this name in another slice, or a failed one; \
         end that unit (systemctl stop, systemctl reset-failed), or give the container another name"
    )]
    UnitInUse {
        /// The path in config.json.
        path: PathBuf,
        /// The name of the unit.
        unit: String,
    },
    /// Somebody makes cgroups there faster than they are read, or the kernel does not list the processes.
    #[error(
        "linux.cgroupsPath: it is not known whether {path} has processes; remove the cgroups below it, or name a cgroup of \
         the container's own"
    )]
    CgroupUnread {
        /// The path in config.json.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// A process in a frozen cgroup does not run.
    #[error(
        "linux.cgroupsPath: {path} is frozen; thaw it, or name a cgroup of the container's own"
    )]
    CgroupFrozen {
        /// The path in config.json.
        path: PathBuf,
    },
    /// The seccomp filter cannot be made.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// A label has a wrong form, or the host would not enforce it.
    #[error(transparent)]
    Label(#[from] LabelError),
}
