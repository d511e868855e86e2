//! The uppermost layer of a scaffold: a tree in memory that holds only the missing mount points and the directories that lead
//! to them.
//!
//! Where several layers have the same directory, the uppermost layer gives the directory its attributes
//! (Documentation/filesystems/overlayfs.rst, "merged directories"). So the skeleton's directories get the attributes of the
//! image's directories.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{File, FileTimes, Permissions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, XattrFlags, fsetxattr};
use rustix::io::Errno;
use sharedroot_sys::mount::{self, Detached, Setting};
use sharedroot_sys::resolve::Resolve;
use sharedroot_sys::xattr::Of;

use super::missing::{Kind, Missing};
use crate::error::{RootfsError, file};

/// Puts `missing` above `layers` (topmost first), whose merged tree is `below`. `place` is any directory outside of the layers,
/// on which the tree is mounted for a moment; the host does not see this mount.
///
/// # Errors
/// [`RootfsError`]; nothing is left mounted.
pub(super) fn raise(
    layers: &[&Path],
    below: BorrowedFd<'_>,
    missing: &[Missing],
    place: &Path,
    options: &[Setting<'_>],
) -> Result<Detached, RootfsError> {
    mount::apart(|| {
        mount::tmpfs(&[Setting::Value("mode", "0755")])?.attach(place)?.keep();
        fill(place, below, missing)?;
        let all: Vec<_> = std::iter::once(place).chain(layers.iter().copied()).collect();
        Ok(mount::layers(&all, options)?)
    })?
}

/// Makes the tree in the empty directory `top`. No component of a missing path is a link, and nobody else writes here.
fn fill(top: &Path, below: BorrowedFd<'_>, missing: &[Missing]) -> Result<(), RootfsError> {
    let mut dirs = BTreeSet::from([Path::new("/")]);
    for one in missing {
        dirs.extend(one.path.ancestors().skip(1));
    }
    dirs.extend(missing.iter().filter(|one| one.kind == Kind::Directory).map(|one| &*one.path));
    // From the top down: a path sorts after its parents. The top itself exists.
    for dir in dirs.iter().skip(1) {
        let path = inside(top, dir);
        std::fs::create_dir(&path).map_err(file("make the mount point", &path))?;
    }
    for one in missing.iter().filter(|one| one.kind == Kind::File) {
        let path = inside(top, &one.path);
        File::create_new(&path).map_err(file("make the mount point", &path))?;
    }
    // After all of them are made, because making an entry changes the times of its directory.
    for dir in dirs {
        let path = inside(top, dir);
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
        let own = File::options().read(true).custom_flags(flags).open(&path);
        let own = own.map_err(file("open the mount point", &path))?;
        match Resolve::RootWithoutLinks.open(below, dir, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(image) => {
                copy(&File::from(image), &own).map_err(file("copy the attributes of", dir))?
            }
            Err(Errno::NOENT) => own
                .set_permissions(Permissions::from_mode(0o755))
                .map_err(file("set the mode of", &path))?,
            Err(errno) => return Err(file("open the image's", dir)(errno.into())),
        }
    }
    Ok(())
}

fn inside(top: &Path, path: &Path) -> PathBuf {
    top.join(path.strip_prefix("/").unwrap_or(path))
}

/// Copies the owner, mode, attributes and times of a directory.
pub(super) fn copy(from: &File, to: &File) -> std::io::Result<()> {
    let found = from.metadata()?;
    fchown(to, Some(found.uid()), Some(found.gid()))?;
    to.set_permissions(found.permissions())?;
    let attributes = Of::File(from.as_fd());
    for name in attributes.names()?.iter().filter(|name| is_copied(name)) {
        if let Some(value) = attributes.value(name)? {
            fsetxattr(to, name.as_c_str(), &value, XattrFlags::empty())?;
        }
    }
    to.set_times(FileTimes::new().set_accessed(found.accessed()?).set_modified(found.modified()?))
}

/// Whether an attribute is copied. Attributes of security modules have their own rules, and overlay's attributes concern only
/// the layer that has them.
fn is_copied(name: &CStr) -> bool {
    let name = name.to_bytes();
    !name.starts_with(b"security.") && !name.starts_with(b"trusted.overlay.")
}
