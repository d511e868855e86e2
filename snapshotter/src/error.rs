//! Why a call fails, and by which code containerd knows the reason.

use sharedroot_bases::RootfsError;
use sharedroot_dm::{Bytes, Error as DmError, Users, VolumeName};
use sharedroot_image::MakeError;
use sharedroot_sys::mount::MountError;
use sharedroot_task::Code;

use crate::key::BadName;
use crate::own_mounts::OwnMountError;
use crate::table::TableError;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name is refused.
    #[error(transparent)]
    Name(#[from] BadName),
    /// A field that the call needs is missing.
    #[error("the request has no {what}")]
    Missing {
        /// The field.
        what: &'static str,
    },
    /// The table refuses, or cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The pool cannot be used.
    #[error(transparent)]
    Dm(#[from] DmError),
    /// A mount of our own cannot be made or removed.
    #[error(transparent)]
    OwnMount(#[from] OwnMountError),
    /// A base cannot be mounted or unmounted, or a snapshot cannot have the size that a container wants.
    #[error(transparent)]
    Bases(#[from] RootfsError),
    /// A volume cannot be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// Docker's files cannot be made at the top of an image.
    #[error("make Docker's files in {volume}")]
    Init {
        /// The volume.
        volume: VolumeName,
        /// Why.
        source: MakeError,
    },
    /// The top of a volume's files cannot be opened.
    #[error("open the top of {volume}")]
    Top {
        /// The volume.
        volume: VolumeName,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A snapshot cannot be compared with its parent.
    #[error("compare {volume} with its parent")]
    Compare {
        /// Its volume.
        volume: VolumeName,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A snapshot holds files, and is larger than its container may be.
    #[error(
        "the snapshot {volume} has {size} and was written to, so it cannot be made smaller; its container asks for {wanted}"
    )]
    Size {
        /// Its volume.
        volume: VolumeName,
        /// Its size.
        size: Bytes,
        /// The size that the container wants.
        wanted: Bytes,
    },
    /// The empty file system of layers without a parent cannot be made.
    #[error("make the empty file system {volume}")]
    Empty {
        /// Its volume.
        volume: VolumeName,
        /// Why.
        source: MakeError,
    },
    /// A power cut came after the commit of a snapshot, and before its files were on the disk.
    #[error(
        "a power cut came before the files of the snapshot {snapshot} were on the disk; remove the image that needs it, and pull the image again"
    )]
    NotWhole {
        /// The snapshot, or its volume.
        snapshot: String,
        /// What is wrong with it.
        source: NotWhole,
    },
    /// Whether a volume is whole cannot be found out.
    #[error("check the file system of {volume}")]
    Check {
        /// The volume.
        volume: VolumeName,
        /// Why.
        source: MakeError,
    },
    /// The superblock of a volume cannot be read.
    #[error("read the superblock of {volume}")]
    Superblock {
        /// The volume.
        volume: VolumeName,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Too many removed snapshots are still in use.
    #[error("{count} removed snapshots are still in use, the first by {users}; end these users")]
    ManyInUse {
        /// How many.
        count: usize,
        /// Who uses the first one.
        users: Users,
    },
    /// The server is at its bounds.
    #[error("the server ends")]
    Ends,
}

impl Error {
    /// The code by which containerd knows the reason (containerd, `errdefs`).
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Name(_) | Self::Missing { .. } => Code::InvalidArgument,
            Self::Table(error) => of_table(error),
            Self::Dm(DmError::Full { .. } | DmError::TooSmall { .. }) | Self::ManyInUse { .. } => {
                Code::ResourceExhausted
            }
            Self::NotWhole { .. } => Code::DataLoss,
            Self::Size { .. } | Self::Bases(RootfsError::Size(_)) => Code::FailedPrecondition,
            Self::Dm(_)
            | Self::Bases(_)
            | Self::Mount(_)
            | Self::Init { .. }
            | Self::Top { .. }
            | Self::Compare { .. }
            | Self::Check { .. }
            | Self::Superblock { .. }
            | Self::Empty { .. }
            | Self::OwnMount(_) => Code::Internal,
            Self::Ends => Code::Unavailable,
        }
    }
}

fn of_table(error: &TableError) -> Code {
    match error {
        TableError::NotFound { .. } => Code::NotFound,
        TableError::Exists { .. } => Code::AlreadyExists,
        TableError::ParentNotCommitted { .. }
        | TableError::OtherParent { .. }
        | TableError::Labels(_)
        | TableError::Filter(_) => Code::InvalidArgument,
        TableError::NotActive { .. }
        | TableError::Committed { .. }
        | TableError::HasChildren { .. } => Code::FailedPrecondition,
        TableError::Store { .. }
        | TableError::File { .. }
        | TableError::Newer { .. }
        | TableError::Value { .. } => Code::Internal,
    }
}

/// What is wrong with a file system.
#[derive(Debug, thiserror::Error)]
pub enum NotWhole {
    /// The kernel cannot replay its journal.
    #[error(transparent)]
    Replay(#[from] MountError),
    /// e2fsck finds errors.
    #[error(transparent)]
    Check(MakeError),
}
