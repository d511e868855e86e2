//! Owner, mode, extended attributes and times of the files of a layer.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use sharedroot_format::base::FIXED_TIME;
use sharedroot_sys::xattr::Of;

use super::beneath::{self, os};
use super::tar_stream::Time;
use super::tar_stream::{Entry, EntryKind};
use super::unpack_error::{UnpackError, failed};

/// Sets the owner, mode, extended attributes and time of a file that is not a regular one. The order is that of engines: a mode
/// cuts the rights that an ACL before it gives.
pub(super) fn apply_metadata(
    entry: &Entry,
    dir: &OwnedFd,
    name: &OsStr,
) -> Result<(), UnpackError> {
    apply_owner(entry, dir, name)?;
    if !matches!(entry.kind, EntryKind::Symlink(_)) {
        // This process has just made or looked at the file, so it is no symbolic link.
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(dir, name, mode, AtFlags::empty())
            .map_err(failed(entry, "set its mode"))?;
    }
    let times = timestamps(mtime(entry));
    rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed(entry, "set its time"))
}

/// Sets the owner and the extended attributes. A new owner takes set-ID bits and a capability away (chown(2)), as with engines.
pub(super) fn apply_owner(entry: &Entry, dir: &OwnedFd, name: &OsStr) -> Result<(), UnpackError> {
    let (uid, gid) = owner(entry);
    rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed(entry, "own it"))?;
    for (attribute, value) in attributes(entry) {
        let path = beneath::by_descriptor(dir.as_fd(), name);
        rustix::fs::lsetxattr(&path, os(attribute), value, XattrFlags::empty())
            .map_err(failed(entry, "set an extended attribute"))?;
    }
    Ok(())
}

/// The owner of the entry, for chown(2).
pub(super) fn owner(entry: &Entry) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
}

/// The attributes that a layer may set. Overlay's notes are left out, as in every base. The SELinux label is left out: a base has
/// the label of its mount.
pub(super) fn attributes(entry: &Entry) -> impl Iterator<Item = &(Vec<u8>, Vec<u8>)> {
    entry
        .xattrs
        .iter()
        .filter(|(name, _)| !name.starts_with(b"trusted.overlay.") && name != b"security.selinux")
}

/// When the content was last changed, as engines set the time (moby's `system.Chtimes`, containerd's `boundTime`): the epoch for a
/// time before the epoch, or for one whose nanoseconds an i64 does not hold. Docker leaves a symbolic link's time before the epoch.
pub(super) fn mtime(entry: &Entry) -> Time {
    let Time { seconds, nanoseconds } = entry.mtime;
    let is_before = seconds < 0 && !matches!(entry.kind, EntryKind::Symlink(_));
    let since = seconds.checked_mul(1_000_000_000).and_then(|n| n.checked_add(nanoseconds.into()));
    if is_before || since.is_none() { Time::default() } else { entry.mtime }
}

/// The times of a file for utimensat(2): the layer's time of modification, and a fixed time of access.
pub(super) fn timestamps(mtime: Time) -> Timestamps {
    let time =
        |seconds, nanoseconds: u32| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps {
        last_access: time(FIXED_TIME, 0),
        last_modification: time(mtime.seconds, mtime.nanoseconds),
    }
}

/// The entry of a directory that no layer describes: owned by root, mode 0755.
pub(super) fn implied_directory(names: &[&[u8]]) -> Entry {
    Entry {
        path: names.join(&b'/'),
        kind: EntryKind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Time { seconds: FIXED_TIME, nanoseconds: 0 },
        xattrs: Vec::new(),
        size: 0,
        extents: None,
    }
}

/// The entry of a directory that a lower layer has, with that layer's metadata.
pub(super) fn directory_of_lower(
    parent: &OwnedFd,
    name: &OsStr,
    stat: &rustix::fs::Stat,
    names: &[&[u8]],
) -> io::Result<Entry> {
    let path = beneath::by_descriptor(parent.as_fd(), name);
    let mut xattrs = Vec::new();
    for attribute in Of::Link(&path).names()? {
        let value = Of::Link(&path).value(&attribute)?.ok_or(Errno::NODATA)?;
        xattrs.push((attribute.into_bytes(), value));
    }
    Ok(Entry {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: beneath::mtime(parent.as_fd(), name)?,
        xattrs,
        ..implied_directory(names)
    })
}
