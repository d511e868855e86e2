//! Why a snapshot cannot have the size that its container is to have.

use sharedroot_dm::{Bytes, VolumeName};
use sharedroot_image::MakeError;

/// A size that a snapshot cannot have.
#[derive(Debug, thiserror::Error)]
pub enum SizeError {
    /// A snapshot is as large as its base.
    #[error(
        "annotations[\"dev.sharedroot.size\"]: {wanted} is more than the {base} of the image's base: raise base.size in the \
         configuration, then `sharedroot image rm` the base, which is made anew with that size"
    )]
    AboveBase {
        /// What is wanted.
        wanted: Bytes,
        /// The base's size.
        base: Bytes,
    },
    /// The image alone is larger.
    #[error(
        "annotations[\"dev.sharedroot.size\"]: {wanted} is less than the {needs} that the image takes, with the number of its \
         files and the file system's own: give it more"
    )]
    BelowImage {
        /// What is wanted.
        wanted: Bytes,
        /// What a file system of the image's files takes.
        needs: Bytes,
    },
    /// The snapshot cannot be made smaller.
    #[error(
        "annotations[\"dev.sharedroot.size\"]: make the snapshot {volume} as small as {wanted}"
    )]
    Fit {
        /// The snapshot.
        volume: VolumeName,
        /// What is wanted.
        wanted: Bytes,
        /// The step and its reason.
        source: MakeError,
    },
    /// What a container wrote into is not made smaller.
    #[error(
        "annotations[\"dev.sharedroot.size\"]: the snapshot {volume} that the container goes on with has {kept}, more than \
         {wanted}: leave the annotation as it was, or give the snapshot up with `sharedroot pool drop {volume}`"
    )]
    OfKept {
        /// The snapshot.
        volume: VolumeName,
        /// Its size.
        kept: Bytes,
        /// What is wanted.
        wanted: Bytes,
    },
}
