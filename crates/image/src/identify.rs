//! Which image is this? Asked of the engines' own files, and of the mount table.

use std::path::{Path, PathBuf};

use crate::image::Image;
use crate::unidentified::Unidentified;
use crate::{docker, mountinfo, overlay};

/// Finds the image below `root_path`, the rootfs that an engine prepared for `container_id`.
///
/// Docker's layer database is asked first, because it costs the same however many mounts the host
/// has. Whatever is not there is looked up in the mount table.
///
/// # Errors
/// A [`Unidentified`], never fatal: the rootfs is to be used as given, and the doubt logged.
pub fn identify(root_path: &Path, container_id: &str) -> Result<Image, Unidentified> {
    match docker::identify(root_path, container_id) {
        Err(Unidentified::NotADockerRootfs { .. }) => overlay::identify(root_path),
        found_or_doubt => found_or_doubt,
    }
}

/// The upper directory of the overlay that is mounted at `root_path`, as its options name it, whether or not its image can
/// be told. None where that is not certain.
#[must_use]
pub fn upper_at(root_path: &Path) -> Option<PathBuf> {
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    let mount = mountinfo::topmost(&table, root_path)?;
    let is_whole = mount.fstype == b"overlay" && mount.root == Path::new("/");
    is_whole.then(|| mountinfo::OverlayOptions::parse(&mount.options))??.upper
}

/// Whether what is mounted at `path` is an overlay that its mounter called `source`.
#[must_use]
pub fn is_overlay_of(path: &Path, source: &str) -> bool {
    let Ok(table) = std::fs::read("/proc/self/mountinfo") else { return false };
    mountinfo::topmost(&table, path)
        .is_some_and(|mount| mount.fstype == b"overlay" && mount.source == source.as_bytes())
}
