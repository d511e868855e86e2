//! Paths of a layer, resolved beneath the layer's own root by the kernel (openat2(2)), never by hand.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, Stat, StatxFlags};
use rustix::io::Errno;
use sharedroot_sys::resolve::Resolve;
use sharedroot_sys::xattr::Of;

/// What overlay takes for "nothing below here is to be seen".
pub(super) const OPAQUE: &str = "trusted.overlay.opaque";

/// The path of an entry as it is in the layer: no `.`, no empty name, and `..` stops at the root, as in a chroot.
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

/// Names as a relative path; the root is `.`.
pub(super) fn joined(names: &[&[u8]]) -> PathBuf {
    if names.is_empty() {
        return ".".into();
    }
    OsStr::from_bytes(&names.join(&b'/')).into()
}

pub(super) fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

/// Opens a directory of a tree. A link of the image leads where it would in a chroot of the tree.
pub(super) fn directory(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    Resolve::RootOfOneTree.open(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// Opens what is at `path` itself, following no link at all.
pub(super) fn exactly(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    Resolve::OneTree.open(root, path, flags | OFlags::NOFOLLOW)
}

/// What a directory has under a name, if anything.
pub(super) fn look(dir: impl AsFd, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A path by which calls that take none of a descriptor reach a file in an open directory.
pub(super) fn by_descriptor(dir: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    sharedroot_sys::by_descriptor::by_descriptor(dir).join(name)
}

/// Where an open directory is below `root`, with every link on the way resolved.
pub(super) fn place(root: &Path, dir: BorrowedFd<'_>) -> io::Result<PathBuf> {
    let at = std::fs::read_link(sharedroot_sys::by_descriptor::by_descriptor(dir))?;
    let below = at.strip_prefix(root).map_err(io::Error::other)?;
    Ok(if below.as_os_str().is_empty() { ".".into() } else { below.to_owned() })
}

pub(super) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}

/// Whether it is overlay's mark for "this name is gone".
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether a directory hides what the layers below have in it.
pub(super) fn is_opaque(dir: BorrowedFd<'_>) -> io::Result<bool> {
    let mut value = [0_u8; 2];
    // A descriptor opened by O_PATH has no attributes, but its path has.
    match rustix::fs::getxattr(by_descriptor(dir, OsStr::new(".")), OPAQUE, &mut value[..]) {
        Ok(n) => Ok(&value[..n] == b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(Errno::RANGE) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// The layers below the one that is unpacked, topmost first, as overlay will show them.
#[derive(Debug, Default)]
pub(super) struct Below {
    layers: Vec<(PathBuf, OwnedFd)>,
}

impl Below {
    /// Puts a finished layer on top.
    pub(super) fn push(&mut self, path: PathBuf, layer: OwnedFd) {
        self.layers.insert(0, (path, layer));
    }

    /// The directories of the layers, topmost first.
    pub(super) fn into_paths(self) -> Vec<PathBuf> {
        self.layers.into_iter().map(|(path, _)| path).collect()
    }

    /// Hides everything: a layer that is opaque at its root comes on top.
    pub(super) fn clear(&mut self) {
        self.layers.clear();
    }

    /// What stands at `path` below, with no link on the way; its layer's directory and its last name.
    pub(super) fn find(&self, names: &[&[u8]]) -> io::Result<Option<(OwnedFd, Stat)>> {
        for (_, layer) in &self.layers {
            match look_in(layer.as_fd(), names)? {
                Seen::There(parent, stat) => return Ok(Some((parent, stat))),
                Seen::Gone => return Ok(None),
                Seen::NotHere => {}
            }
        }
        Ok(None)
    }
}

/// What one layer says of a path.
enum Seen {
    There(OwnedFd, Stat),
    /// It, or a directory above it, is hidden from here on.
    Gone,
    NotHere,
}

fn look_in(layer: BorrowedFd<'_>, names: &[&[u8]]) -> io::Result<Seen> {
    let mut dir = layer.try_clone_to_owned()?;
    let Some((last, above)) = names.split_last() else { return Ok(Seen::NotHere) };
    let mut hidden = false;
    for name in above {
        match look(&dir, os(name))? {
            None => return Ok(if hidden { Seen::Gone } else { Seen::NotHere }),
            // A file, a link or a whiteout: below it there is nothing any more.
            Some(stat) if !is_dir(&stat) => return Ok(Seen::Gone),
            Some(_) => dir = exactly(dir.as_fd(), Path::new(os(name)), OFlags::PATH)?,
        }
        hidden |= is_opaque(dir.as_fd())?;
    }
    Ok(match look(&dir, os(last))? {
        Some(stat) if is_whiteout(&stat) => Seen::Gone,
        Some(stat) => Seen::There(dir, stat),
        None if hidden => Seen::Gone,
        None => Seen::NotHere,
    })
}

/// Free bytes of the file system that a file is on.
pub(super) fn free(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let stat = rustix::fs::fstatvfs(fd)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Seconds and nanoseconds of a file's last change.
pub(super) fn mtime(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<super::pax::Time> {
    let stat = rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MTIME)?;
    Ok(super::pax::Time { seconds: stat.stx_mtime.tv_sec, nanoseconds: stat.stx_mtime.tv_nsec })
}

/// Whether a file has an attribute that overlay would heed.
pub(super) fn has_overlay_mark(path: &Path) -> bool {
    let names = Of::Link(path).names().unwrap_or_default();
    names.iter().any(|name| name.to_bytes().starts_with(b"trusted.overlay."))
}
