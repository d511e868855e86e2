//! The uppermost layer of a scaffold: a tree in memory that holds only the missing mount points and the directories that lead
//! to them.
//!
//! Where several layers have the same directory, the uppermost layer gives the directory its attributes
//! (Documentation/filesystems/overlayfs.rst, "merged directories"). So the skeleton's directories get the attributes of the
//! image's directories.
//!
//! A configuration decides how many names a skeleton has, and its memory is charged to no container. So the number has a bound, and
//! a skeleton is made before the base's lock is taken.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{File, FileTimes, Permissions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use rustix::fs::{Mode, OFlags, XattrFlags, fsetxattr, mkdirat, openat};
use rustix::io::Errno;
use sharedroot_sys::mount::{self, Detached, Setting};
use sharedroot_sys::resolve::Resolve;
use sharedroot_sys::xattr::Of;

use super::base_lock::BaseLock;
use super::missing::{Kind, Missing};
use crate::error::{RootfsError, file};

/// How many directories and files a skeleton may have.
const MOST_NAMES: usize = 4096;

/// The kernel's own bounds of a skeleton, should the count be wrong. An inode counts as 1 KiB, which names and attributes are taken
/// from (Linux, mm/shmem.c, `BOGO_INODE_SIZE`): directories have copies of the image's attributes, of which an image has at most 16
/// MiB. The files have no content.
const BOUNDS: [Setting<'static>; 2] =
    [Setting::Value("nr_inodes", "32k"), Setting::Value("size", "64k")];

/// A skeleton that is mounted nowhere.
pub(super) struct Skeleton(Detached);

impl Skeleton {
    /// Checks that a skeleton of `missing`, which is sorted, is not too large.
    ///
    /// # Errors
    /// [`RootfsError::ManyNames`].
    pub(super) fn check(missing: &[Missing]) -> Result<(), RootfsError> {
        let names = names(missing);
        if names <= MOST_NAMES {
            return Ok(());
        }
        Err(RootfsError::ManyNames { names, most: MOST_NAMES })
    }

    /// Makes what `missing`, which is sorted, lacks in the tree `below`.
    ///
    /// # Errors
    /// [`RootfsError`]; nothing is left mounted.
    pub(super) fn of(missing: &[Missing], below: BorrowedFd<'_>) -> Result<Self, RootfsError> {
        Self::check(missing)?;
        let [inodes, size] = BOUNDS;
        let made = mount::tmpfs(&[Setting::Value("mode", "0755"), inodes, size])?;
        fill(made.as_fd(), below, missing)?;
        Ok(Self(made))
    }

    /// Puts the skeleton above `layers` (topmost first). `place` is any directory outside of the layers, on which the skeleton is
    /// mounted for a moment; the host does not see this mount. The layers are given by path: whoever has the lock of the base knows
    /// that the base stays at its path.
    ///
    /// # Errors
    /// [`RootfsError`]; nothing is left mounted.
    pub(super) fn raise(
        self,
        layers: &[&Path],
        place: &Path,
        options: &[Setting<'_>],
        _stays: &BaseLock,
    ) -> Result<Detached, RootfsError> {
        mount::apart(|| {
            self.0.attach(place)?.keep();
            let all: Vec<_> = std::iter::once(place).chain(layers.iter().copied()).collect();
            Ok(mount::layers(&all, options)?)
        })?
    }
}

/// How many directories and files lead to the sorted paths: each path has those of its names that it does not share with the path
/// before it.
fn names(missing: &[Missing]) -> usize {
    let mut before = Path::new("/");
    let mut names = 0_usize;
    for Missing { path, .. } in missing {
        let shared = path.components().zip(before.components()).take_while(|(a, b)| a == b).count();
        names = names.saturating_add(path.components().count() - shared);
        before = path;
    }
    names
}

/// Makes the tree in the empty directory `top`. No component of a missing path is a link, and nobody else writes here.
fn fill(
    top: BorrowedFd<'_>,
    below: BorrowedFd<'_>,
    missing: &[Missing],
) -> Result<(), RootfsError> {
    let mut dirs = BTreeSet::from([Path::new("/")]);
    for one in missing {
        dirs.extend(one.path.ancestors().skip(1));
    }
    dirs.extend(missing.iter().filter(|one| one.kind == Kind::Directory).map(|one| &*one.path));
    let fail = |step, path| move |errno: Errno| file(step, path)(errno.into());
    // From the top down: a path sorts after its parents. The top itself exists.
    for dir in dirs.iter().skip(1) {
        mkdirat(top, inside(dir), Mode::from_raw_mode(0o777))
            .map_err(fail("make the mount point", dir))?;
    }
    for Missing { path, .. } in missing.iter().filter(|one| one.kind == Kind::File) {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(top, inside(path), flags, Mode::from_raw_mode(0o666))
            .map_err(fail("make the mount point", path))?;
    }
    // After all of them are made, because making an entry changes the times of its directory.
    for dir in dirs {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let own = openat(top, inside(dir), flags, Mode::empty());
        let own = File::from(own.map_err(fail("open the mount point", dir))?);
        match Resolve::RootWithoutLinks.open(below, dir, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(image) => {
                copy(&File::from(image), &own).map_err(file("copy the attributes of", dir))?
            }
            Err(Errno::NOENT) => own
                .set_permissions(Permissions::from_mode(0o755))
                .map_err(file("set the mode of", dir))?,
            Err(errno) => return Err(fail("open the image's", dir)(errno)),
        }
    }
    Ok(())
}

/// The path below the top.
fn inside(path: &Path) -> &Path {
    let below = path.strip_prefix("/").unwrap_or(path);
    if below.as_os_str().is_empty() { Path::new(".") } else { below }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(paths: &[String]) -> Vec<Missing> {
        let kind = Kind::Directory;
        let mut all: Vec<_> =
            paths.iter().map(|path| Missing { path: path.into(), kind }).collect();
        all.sort();
        all
    }

    /// As many as the set of all paths and their parents has.
    #[test]
    fn each_name_is_counted_once() {
        for paths in [
            &["/a/b/c", "/a/b/d", "/a/b", "/a-b/c", "/z"][..],
            &["/a", "/a"],
            &["/a.b/x", "/a/b", "/a/b/c/d", "/a b/c"],
            &[],
        ] {
            let all = missing(&paths.iter().map(ToString::to_string).collect::<Vec<_>>());
            let above = all.iter().flat_map(|one| one.path.ancestors());
            let counted = above.filter(|path| path.parent().is_some()).collect::<BTreeSet<_>>();
            assert_eq!(names(&all), counted.len(), "{paths:?}");
        }
    }

    #[test]
    fn a_skeleton_has_a_bound() {
        let deep = |n| format!("/a{n}{}", "/d".repeat(2047));
        let two: Vec<_> = (0..2).map(deep).collect();
        Skeleton::check(&missing(&two)).unwrap();
        let three = missing(&[&two[..], &["/b".to_owned()]].concat());
        let refused = Skeleton::check(&three).unwrap_err();
        assert!(matches!(refused, RootfsError::ManyNames { names: 4097, .. }), "{refused}");
        // Nothing is made before the count.
        let top = File::open("/").unwrap();
        let refused = Skeleton::of(&three, top.as_fd()).map(drop).unwrap_err();
        assert!(matches!(refused, RootfsError::ManyNames { .. }), "{refused}");
        let many: Vec<_> = (0..350).map(deep).collect();
        let refused = Skeleton::check(&missing(&many)).unwrap_err();
        assert!(matches!(refused, RootfsError::ManyNames { names: 716_800, .. }), "{refused}");
    }
}
