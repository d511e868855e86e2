//! Why a container runs on the engine's rootfs although its image is known: no failure, for it can run all the same.
//!
//! Each reason is made where it is known. Every other error fails the container.

use std::error::Error;
use std::path::PathBuf;

use sharedroot_format::BaseKey;
use sharedroot_image::MakeError;
use sharedroot_label::{LabelError, SharedLabel};
use sharedroot_sys::chain::chain;
use sharedroot_sys::mount::MountError;

use crate::changes::ChangeError;

/// The reason.
#[derive(Debug, thiserror::Error)]
pub enum NotShared {
    /// The image cannot be a base.
    #[error("make the base of {key}")]
    Image {
        /// The image's key.
        key: BaseKey,
        /// What there is about it.
        source: MakeError,
    },
    /// Another container is making the base, and the configuration says not to wait.
    #[error("another container is making the base {key}, and base.wait is false")]
    BeingMade {
        /// The base.
        key: BaseKey,
    },
    /// The policy names no shared label that can be used.
    #[error("no base is shared")]
    NoLabel(#[source] LabelError),
    /// The file system is in use under another label, of which it can have one.
    #[error(
        "mount the base {key} with the shared label {label}: {}; something left of an earlier mount may hold it under another \
         label, which ends with the last process that sees that mount",
        chain(.cause)
    )]
    OtherLabel {
        /// The base.
        key: BaseKey,
        /// The shared label.
        label: SharedLabel,
        /// The kernel's words.
        cause: MountError,
    },
    /// What the base lacks could not be put above it.
    #[error("put {path} above the base {key}")]
    Scaffold {
        /// The base.
        key: BaseKey,
        /// The first missing mount point, or the container's upper directory.
        path: PathBuf,
        /// The step and its reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// What the container held when it was stopped is larger than a snapshot.
    #[error("bring what container {id} holds over its image into a snapshot")]
    BringIn {
        /// The container.
        id: String,
        /// The step and its reason.
        source: ChangeError,
    },
    /// The image has a name that ours would be.
    #[error("make {name} in the snapshot's file system: the image has that name")]
    NameTaken {
        /// The name, at the top.
        name: &'static str,
    },
}
