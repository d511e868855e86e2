//! Finds the image of a rootfs, in the engines' own files and in the mount table.

use std::path::{Path, PathBuf};

use sharedroot_sys::mountinfo;

use crate::image::Image;
use crate::overlay_options::OverlayOptions;
use crate::unidentified::Unidentified;
use crate::{docker, overlay};

/// Finds the image of the rootfs `root_path`, which an engine prepared for the container `container_id`.
///
/// This reads Docker's layer database first, because its cost does not grow with the number of mounts of the host. If the
/// database does not have the rootfs, this reads the mount table.
///
/// # Errors
/// [`Unidentified`] is no failure of the container: it runs on the engine's rootfs, and the log has the reason.
pub fn identify(root_path: &Path, container_id: &str) -> Result<Image, Unidentified> {
    match docker::identify(root_path, container_id) {
        Err(Unidentified::NotADockerRootfs { .. }) => overlay::identify(root_path),
        identified => identified,
    }
}

/// The upper directory of the overlay that is mounted at `root_path`, from the options of the mount. The image need not be
/// known. None if the upper directory is not certain.
#[must_use]
pub fn upper_at(root_path: &Path) -> Option<PathBuf> {
    let table = std::fs::read(mountinfo::OWN).ok()?;
    let mount = mountinfo::topmost(&table, root_path)?;
    let is_whole = mount.fstype == b"overlay" && mount.root == Path::new("/");
    is_whole.then(|| OverlayOptions::parse(&mount.options))??.upper
}

/// Whether an overlay with the name `source` in the mount table is mounted at `path`.
#[must_use]
pub fn is_overlay_of(path: &Path, source: &str) -> bool {
    let Ok(table) = std::fs::read(mountinfo::OWN) else { return false };
    mountinfo::topmost(&table, path)
        .is_some_and(|mount| mount.fstype == b"overlay" && mount.source == source.as_bytes())
}
