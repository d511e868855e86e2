//! The hard size of a private rootfs: both its file system and its device have this size, so that the container can take no
//! more of the pool.
//!
//! A limit of the file system alone, such as ext4's `reserved_clusters`, would not limit the room in the pool. ext4 does not
//! reuse a deleted file's blocks for a while, and takes other blocks, all over the device. A block of the pool stays with the
//! volume while 4 KiB of the block are in use.

use sharedroot_dm::{Bytes, NewVolume, VolumeName};
use sharedroot_image::{self as image, MakeError};

use crate::error::RootfsError;
use crate::size_error::SizeError;

/// Makes a fresh snapshot and its file system as large as `wanted`, in whole blocks of the pool. Nobody has mounted the
/// snapshot yet.
///
/// # Errors
/// [`SizeError::AboveBase`], [`SizeError::BelowImage`], or the error of a step; the caller must delete the snapshot then.
pub fn fit(snapshot: &mut NewVolume<'_>, wanted: Bytes) -> Result<(), RootfsError> {
    let base = snapshot.size();
    if wanted > base {
        return Err(SizeError::AboveBase { wanted, base }.into());
    }
    let size = snapshot.whole_blocks_within(wanted);
    if size == base {
        return Ok(());
    }
    image::shrink_filesystem(snapshot.device(), size.0).map_err(|source| match source {
        MakeError::FilesDoNotFit { needs, .. } => {
            SizeError::BelowImage { wanted, needs: Bytes(needs) }
        }
        source => SizeError::Fit { volume: snapshot.name().clone(), wanted, source },
    })?;
    Ok(snapshot.shrink(size)?)
}

/// Checks the snapshot of an earlier start, which keeps its size because a container wrote into its file system.
///
/// # Errors
/// [`SizeError::OfKept`] if the snapshot is larger than wanted.
pub(super) fn check_kept(volume: &VolumeName, kept: Bytes, wanted: Bytes) -> Result<(), SizeError> {
    match kept > wanted {
        true => Err(SizeError::OfKept { volume: volume.clone(), kept, wanted }),
        false => Ok(()),
    }
}
