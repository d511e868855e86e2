//! The status of a container, in runc's words.

use libcontainer::container::ContainerStatus;

/// The status of a container, in runc's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The engine is creating the container.
    Creating,
    /// The container waits for `start`.
    Created,
    /// The container's process runs.
    Running,
    /// The container's process has ended.
    Stopped,
    /// The container is frozen.
    Paused,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
        })
    }
}

impl From<ContainerStatus> for Status {
    fn from(status: ContainerStatus) -> Self {
        match status {
            ContainerStatus::Creating => Self::Creating,
            ContainerStatus::Created => Self::Created,
            ContainerStatus::Running => Self::Running,
            ContainerStatus::Stopped => Self::Stopped,
            ContainerStatus::Paused => Self::Paused,
        }
    }
}
