//! Files of a layer, reached beneath the layer's own root. The kernel resolves every path (openat2(2)).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, Stat, StatxFlags};
use rustix::io::Errno;
use sharedroot_sys::resolve::Resolve;
use sharedroot_sys::xattr::Of;

use super::tar_stream::Time;

/// The attribute of a directory that hides the lower layers (Documentation/filesystems/overlayfs.rst, "Whiteouts and opaque
/// directories").
pub(super) const OPAQUE: &str = "trusted.overlay.opaque";

/// Splits the path of an entry into its names: `.` and empty names are left out, and `..` stops at the root, as in a chroot.
pub(super) fn clean(path: &[u8]) -> Vec<&[u8]> {
    let mut names = Vec::new();
    for name in path.split(|&byte| byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names
}

/// Joins names to a relative path; the root is `.`.
pub(super) fn joined(names: &[&[u8]]) -> PathBuf {
    if names.is_empty() {
        return ".".into();
    }
    OsStr::from_bytes(&names.join(&b'/')).into()
}

pub(super) fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

/// Opens a directory of a tree. A symbolic link leads where it leads in a chroot of the tree.
pub(super) fn directory(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    Resolve::RootOfOneTree.open(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Opens a directory of a tree, and fails at any symbolic link (ELOOP), also at the last name.
pub(super) fn directory_without_links(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    Resolve::OneTree.open(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Opens what is at `path`, and fails at any symbolic link.
pub(super) fn exactly(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    Resolve::OneTree.open(root, path, flags | OFlags::NOFOLLOW)
}

/// The file that a directory has under a name, if there is one; a symbolic link is not followed.
pub(super) fn look(dir: impl AsFd, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The path of a file in an open directory, for system calls that take no descriptor.
pub(super) fn by_descriptor(dir: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    sharedroot_sys::by_descriptor::by_descriptor(dir).join(name)
}

/// The path of an open directory below `root`, without any symbolic link.
pub(super) fn place(root: &Path, dir: BorrowedFd<'_>) -> io::Result<PathBuf> {
    let at = std::fs::read_link(sharedroot_sys::by_descriptor::by_descriptor(dir))?;
    let below = at.strip_prefix(root).map_err(io::Error::other)?;
    Ok(if below.as_os_str().is_empty() { ".".into() } else { below.to_owned() })
}

pub(super) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}

/// Whether the file is overlay's whiteout: the name is gone.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether a directory hides what the lower layers have in it.
pub(super) fn is_opaque(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let mut value = [0_u8; 2];
    // fgetxattr(2) fails for a descriptor that was opened by O_PATH, so the call takes a path.
    match rustix::fs::getxattr(by_descriptor(dir, OsStr::new(".")), OPAQUE, &mut value[..]) {
        Ok(n) => Ok(&value[..n] == b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// When the content of a file was last changed.
pub(super) fn mtime(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<Time> {
    let stat = rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MTIME)?;
    Ok(Time { seconds: stat.stx_mtime.tv_sec, nanoseconds: stat.stx_mtime.tv_nsec })
}

/// Whether a file has an attribute of overlay's.
pub(super) fn has_overlay_mark(path: &Path) -> bool {
    let names = Of::Link(path).names().unwrap_or_default();
    names.iter().any(|name| name.to_bytes().starts_with(b"trusted.overlay."))
}
