//! Why a snapshot cannot have the size that its container asks for.

use sharedroot_dm::{Bytes, VolumeName};
use sharedroot_image::MakeError;

/// A size that a snapshot cannot have.
#[derive(Debug, thiserror::Error)]
pub enum SizeError {
    /// The size is larger than the base, and a snapshot is as large as its base.
    #[error(
        "annotations[\"dev.sharedroot.size\"]: {wanted} is more than the {base} of the image's base: raise base.size in the \
         configuration, then `sharedroot image rm` the base, which is made anew with that size"
    )]
    AboveBase {
        /// The size that is wanted.
        wanted: Bytes,
        /// The base's size.
        base: Bytes,
    },
    /// The size is too small for the image alone.
    #[error(
        "annotations[\"dev.sharedroot.size\"]: {wanted} is less than the {needs} that the image takes, with the number of its \
         files and the file system's own: give it more"
    )]
    BelowImage {
        /// The size that is wanted.
        wanted: Bytes,
        /// The size of a file system with only the image's files.
        needs: Bytes,
    },
    /// The snapshot could not be made smaller.
    #[error(
        "annotations[\"dev.sharedroot.size\"]: make the snapshot {volume} as small as {wanted}"
    )]
    Fit {
        /// The snapshot.
        volume: VolumeName,
        /// The size that is wanted.
        wanted: Bytes,
        /// The step that failed, with its reason.
        source: MakeError,
    },
    /// The snapshot of an earlier start is larger. A snapshot that a container wrote into is not made smaller.
    #[error(
        "annotations[\"dev.sharedroot.size\"]: the snapshot {volume} that the container goes on with has {kept}, more than \
         {wanted}: leave the annotation as it was, or give the snapshot up with `sharedroot pool drop {volume}`"
    )]
    OfKept {
        /// The snapshot.
        volume: VolumeName,
        /// Its size.
        kept: Bytes,
        /// The size that is wanted.
        wanted: Bytes,
    },
}
