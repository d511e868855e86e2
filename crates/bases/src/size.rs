//! The hard size of a private rootfs: a file system and a device of that size, so that the container can take no more of the
//! pool.
//!
//! A limit of the file system alone, such as ext4's `reserved_clusters`, is none of the pool: ext4 gives a deleted file's
//! blocks to nobody for a while and takes others, all over the device, and a block of the pool stays the volume's while 4 KiB
//! of it are in use.

use sharedroot_dm::{Bytes, NewVolume, VolumeName};
use sharedroot_image::{self as image, MakeError};

use crate::error::RootfsError;
use crate::size_error::SizeError;

/// Makes a fresh snapshot and the file system on it as large as `wanted`, in whole blocks of the pool. Nobody has mounted it.
///
/// # Errors
/// [`SizeError::AboveBase`], [`SizeError::BelowImage`], or what failed; the snapshot is then of no use.
pub(super) fn fit(snapshot: &mut NewVolume<'_>, wanted: Bytes) -> Result<(), RootfsError> {
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

/// The snapshot of an earlier start keeps its size: its file system was a container's.
///
/// # Errors
/// [`SizeError::OfKept`] if it is larger than wanted.
pub(super) fn check_kept(volume: &VolumeName, kept: Bytes, wanted: Bytes) -> Result<(), SizeError> {
    match kept > wanted {
        true => Err(SizeError::OfKept { volume: volume.clone(), kept, wanted }),
        false => Ok(()),
    }
}
