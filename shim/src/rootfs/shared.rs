//! The shared rootfs: the base, bound read-only over `root.path` where only this container's
//! processes see it.

use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::{RootfsError, Storage};
use crate::image::Image;
use crate::mount::{self, Detached};

/// What became of a plan to share.
#[derive(Debug)]
pub enum Rooted {
    /// `root.path` is the base, in this process's own mount namespace.
    Shared,
    /// The base lacks directories that the container mounts on; the rootfs stays as given.
    MissingMountPoints(Vec<PathBuf>),
}

/// Binds the image's base over `root_path` in a mount namespace of this process's own.
///
/// `needed` are the absolute paths, inside the container, that must exist in the base because
/// nothing can be created there any more.
///
/// # Errors
/// [`RootfsError`]; the host's mount table is as before, but for the base.
pub fn prepare_shared(
    storage: &Storage,
    image: &Image,
    root_path: &Path,
    needed: &[PathBuf],
) -> Result<Rooted, RootfsError> {
    let (at, device) = storage.mounted_base(image)?;
    let bound = mount::bind(&at)?;
    if bound.device() != Some(device) {
        // Between the two calls an administrator removed the base: this is the bare mount point.
        return Err(RootfsError::BaseRemoved { key: image.key.clone() });
    }
    let missing = missing(&bound, needed);
    if !missing.is_empty() {
        return Ok(Rooted::MissingMountPoints(missing));
    }
    mount::enter_private_namespace()?;
    // Nothing to undo: the bind ends with the namespace.
    bound.attach(root_path)?.keep();
    Ok(Rooted::Shared)
}

/// Those of `needed` that the base does not have, links resolved as inside a container.
fn missing(base: &Detached, needed: &[PathBuf]) -> Vec<PathBuf> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let absent = |path: &&PathBuf| openat2(base, path.as_path(), how).is_err();
    needed.iter().filter(absent).cloned().collect()
}
