//! The hard size of a private rootfs: ext4 keeps so many clusters in reserve that no more than the
//! size can be used.
//!
//! `reserved_clusters` (Documentation/ABI/testing/sysfs-fs-ext4) is honoured for root, too, and `df`
//! leaves it out of what is available. It lives with the mount: nothing is written to the volume, which
//! would take a block of the pool for each container.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use sharedroot_dm::Bytes;

use super::{RootfsError, file};
use crate::mount::Detached;

/// Lets the file system of a snapshot hold `wanted` bytes in all, its image's included.
///
/// # Errors
/// [`RootfsError::SizeAboveBase`], [`RootfsError::SizeBelowImage`], [`RootfsError::File`].
pub(super) fn limit(
    mounted: &Detached,
    device: &Path,
    volume: Bytes,
    wanted: Bytes,
) -> Result<(), RootfsError> {
    if wanted > volume {
        return Err(RootfsError::SizeAboveBase { wanted, base: volume });
    }
    let name = device.file_name().unwrap_or_default();
    let knob = Path::new("/sys/fs/ext4").join(name).join("reserved_clusters");
    let stat = rustix::fs::fstatvfs(mounted.as_fd())
        .map_err(|errno| file("measure the file system of", device)(errno.into()))?;
    let used = Bytes((stat.f_blocks - stat.f_bfree) * stat.f_frsize);
    let Some(more) = wanted.0.checked_sub(used.0) else {
        return Err(RootfsError::SizeBelowImage { wanted, used });
    };
    // A cluster of a base is a block.
    let reserved = stat.f_bfree.saturating_sub(more / stat.f_frsize);
    let now = fs::read_to_string(&knob).map_err(file("read", &knob))?;
    let kernels_own = now.trim().parse().unwrap_or(0);
    if reserved > kernels_own {
        fs::write(&knob, reserved.to_string()).map_err(file("write", &knob))?;
    }
    Ok(())
}

/// The same for a snapshot that its container had before. One that holds more by now, as after `docker cp` into the stopped
/// container, may hold what it holds, and no more: its container must be able to start and to remove something.
///
/// # Errors
/// [`RootfsError::SizeAboveBase`], [`RootfsError::File`].
pub(super) fn limit_kept(
    id: &str,
    mounted: &Detached,
    device: &Path,
    volume: Bytes,
    wanted: Bytes,
) -> Result<(), RootfsError> {
    match limit(mounted, device, volume, wanted) {
        Err(RootfsError::SizeBelowImage { used, .. }) => {
            tracing::warn!(
                "container {id} holds {used}, and its size is {wanted}: it can write again when it holds less than {used}"
            );
            limit(mounted, device, volume, used.min(volume))
        }
        limited => limited,
    }
}
