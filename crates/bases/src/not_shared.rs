//! Why a container runs on the engine's rootfs although its image is known. This is no failure, because the container can run
//! there.
//!
//! Each function makes the reasons of its own step. Every other error fails the container.

use std::error::Error;
use std::path::PathBuf;

use sharedroot_dm::Users;
use sharedroot_format::BaseKey;
use sharedroot_image::MakeError;
use sharedroot_label::{LabelError, SharedLabel};
use sharedroot_sys::chain::chain;
use sharedroot_sys::mount::MountError;

use crate::changes::ChangeError;

/// The reason why the rootfs is not shared.
#[derive(Debug, thiserror::Error)]
pub enum NotShared {
    /// No base can be made from the image.
    #[error("make the base of {key}")]
    Image {
        /// The image's key.
        key: BaseKey,
        /// The step that failed, with its reason.
        source: MakeError,
    },
    /// Another container is making the base, and the configuration says not to wait.
    #[error("another container is making the base {key}, and base.wait is false")]
    BeingMade {
        /// The base.
        key: BaseKey,
    },
    /// The policy names no usable shared label.
    #[error("no base is shared")]
    NoLabel(#[source] LabelError),
    /// The file system is in use with another label, and a file system can have only one label.
    #[error(
        "mount the base {key} with the shared label {label}: {}; perhaps the file system is still mounted with another label; that \
         mount ends with the last process that sees it",
        chain(.cause)
    )]
    OtherLabel {
        /// The base.
        key: BaseKey,
        /// The shared label.
        label: SharedLabel,
        /// The kernel's error.
        cause: MountError,
    },
    /// The directories and files that the base lacks could not be put above the base.
    #[error("put {path} above the base {key}")]
    Scaffold {
        /// The base.
        key: BaseKey,
        /// The first missing mount point, or the container's upper directory.
        path: PathBuf,
        /// The step that failed, with its reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// What the container held over its image needs more room than a snapshot has.
    #[error("bring what container {id} holds over its image into a snapshot")]
    BringIn {
        /// The container.
        id: String,
        /// The step that failed, with its reason.
        source: ChangeError,
    },
    /// The image has a file of a name that sharedroot needs.
    #[error("make {name} in the snapshot's file system: the image has that name")]
    NameTaken {
        /// The name, at the top of the image.
        name: &'static str,
    },
    /// The root of an earlier start is still in use. Each further start with a snapshot would leave one more.
    #[error(
        "the root of an earlier start of the container is still in use: {users}; the first start after the end of that use gets a \
         snapshot again"
    )]
    StillInUse {
        /// Who uses the root.
        users: Users,
    },
    /// Too many roots of containers that have ended are still in use.
    #[error(
        "the roots of {count} containers that have ended are still in use, one of them: {users}; starts get snapshots again when \
         some of these uses have ended"
    )]
    ManyInUse {
        /// How many roots are in use.
        count: usize,
        /// Who uses one of them.
        users: Users,
    },
}
