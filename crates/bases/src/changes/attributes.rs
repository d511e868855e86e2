//! Owner, mode, times and extended attributes of an inode, copied from another inode.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use sharedroot_label as label;
use sharedroot_sys::xattr::Of;

use super::error::{Failed, doing};
use super::node::{Node, kind};
use super::rights::{ACL, Rights, UNFINISHED, owner};

/// The attribute that marks a part of a file that was left out. Its value is the modification time of the part (`part.rs`).
pub(super) const MARK: &CStr = c"trusted.sharedroot.part";

/// The beginning of the names of overlay's own attributes.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// The extended attributes that belong to the content of a root.
type Xattrs = BTreeMap<CString, Vec<u8>>;

/// What a node has besides its content.
#[derive(Debug)]
pub(super) struct Attributes {
    stat: Stat,
    xattrs: Xattrs,
}

impl Attributes {
    pub(super) fn of(node: &Node) -> Result<Self, Errno> {
        let mut xattrs = xattrs(node)?;
        // The mark says that the file is only a part. What is made from this file is a whole file.
        xattrs.remove(MARK);
        Ok(Self { stat: node.stat, xattrs })
    }

    /// The rights of the part of a file with these attributes. `before` is the file that the part replaced.
    pub(super) fn rights_of_part(&self, before: Option<&Stat>) -> Rights {
        let rights = Rights::of(&self.stat, before);
        if self.xattrs.contains_key(ACL) { rights.of_owner_only() } else { rights }
    }

    /// Whether `to` has these attributes.
    pub(super) fn same(&self, to: &Self) -> bool {
        owner(&self.stat) == owner(&to.stat)
            && self.stat.st_mode == to.stat.st_mode
            && same_time(&self.stat, &to.stat)
            && self.xattrs == to.xattrs
    }

    /// Gives these attributes to `to`, and returns whether anything changed. The kernel dictates the order: a change of owner
    /// removes set-uid bits and capabilities, and the later steps do not change the modification time. The mode comes last:
    /// until then it says that the file is unfinished. The other attributes are set also when `to` refuses an extended
    /// attribute.
    pub(super) fn give(&self, to: &Node) -> Result<bool, Failed> {
        const STEP: &str = "set the attributes of";
        let mut refused = None;
        let changed = self.give_all(to, &mut refused).map_err(doing(STEP))?;
        match refused {
            Some(source) => Err(doing(STEP)(source).without_content()),
            None => Ok(changed),
        }
    }

    fn give_all(&self, to: &Node, refused: &mut Option<Errno>) -> Result<bool, Errno> {
        // Read again, because the write of the content has changed the attributes.
        let now = rustix::fs::fstat(to)?;
        let is_link = kind(&now) == FileType::Symlink;
        let has = xattrs(to)?;
        let same =
            owner(&self.stat) == owner(&now) && same_time(&self.stat, &now) && has == self.xattrs;
        if !same && kind(&now) == FileType::RegularFile {
            rustix::fs::chmod(to.path(), UNFINISHED)?;
        }
        let mut changed = false;
        if owner(&self.stat) != owner(&now) {
            let (uid, gid) = (Uid::from_raw(self.stat.st_uid), Gid::from_raw(self.stat.st_gid));
            rustix::fs::chownat(to, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
            changed = true;
        }
        // Read again, because a change of owner removes a capability.
        let has = if changed { xattrs(to)? } else { has };
        changed |= self.give_xattrs(to, &has, refused)?;
        let now = rustix::fs::fstat(to)?;
        if !same_time(&self.stat, &now) {
            let (seconds, nanoseconds) = modified(&self.stat);
            let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
            let times = Timestamps { last_access: time, last_modification: time };
            rustix::fs::utimensat(CWD, to.path(), &times, AtFlags::empty())?;
            changed = true;
        }
        if !is_link && self.stat.st_mode != now.st_mode {
            rustix::fs::chmod(to.path(), Mode::from_raw_mode(self.stat.st_mode & 0o7777))?;
            changed = true;
        }
        Ok(changed)
    }

    fn give_xattrs(
        &self,
        to: &Node,
        has: &Xattrs,
        refused: &mut Option<Errno>,
    ) -> Result<bool, Errno> {
        if *has == self.xattrs {
            return Ok(false);
        }
        for name in has.keys().filter(|name| !self.xattrs.contains_key(*name)) {
            match rustix::fs::removexattr(to.path(), name.as_c_str()) {
                Err(Errno::NODATA) => {}
                removed => removed?,
            }
        }
        for (name, value) in
            self.xattrs.iter().filter(|(name, value)| has.get(*name) != Some(value))
        {
            match rustix::fs::setxattr(to.path(), name.as_c_str(), value, XattrFlags::empty()) {
                // The engine's root would have refused this attribute from the container, too.
                Err(Errno::OPNOTSUPP) => {
                    tracing::warn!(
                        "the engine's file system takes no attribute {name:?}: left out"
                    );
                }
                Err(errno) if is_refusal(errno) => *refused = Some(errno),
                set => set?,
            }
        }
        Ok(true)
    }
}

/// Whether the errno can mean that the attribute does not fit into the inode, or that the disk is full: ext4 gives the same
/// errno for both.
fn is_refusal(errno: Errno) -> bool {
    use Errno as E;
    [E::NOSPC, E::DQUOT, E::TOOBIG, E::RANGE, E::PERM, E::INVAL, E::NAMETOOLONG].contains(&errno)
}

/// Whether a regular file got all that a write-back gives it. Only an extended attribute that did not fit may be missing.
pub(super) fn is_finished(from: &Stat, to: &Stat) -> bool {
    owner(from) == owner(to)
        && (from.st_mode, from.st_size) == (to.st_mode, to.st_size)
        && same_time(from, to)
}

/// Whether the inode has attributes of an overlay's layer: an overlay inside the container uses this inode.
pub(super) fn is_of_a_layer(node: &Node) -> Result<bool, Errno> {
    let names = of(node).names().map_err(errno)?;
    Ok(names.iter().any(|name| name.to_bytes().starts_with(OVERLAY)))
}

fn modified(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

/// mke2fs gives the files of a base whole seconds. So a time that differs only in the fraction of a second is no change.
fn same_time(from: &Stat, to: &Stat) -> bool {
    let ((from, fraction), to) = (modified(from), modified(to));
    from == to.0 && (fraction == to.1 || fraction == 0)
}

fn of(node: &Node) -> Of<'_> {
    Of::Path(Path::new(OsStr::from_bytes(node.path().to_bytes())))
}

fn xattrs(node: &Node) -> Result<Xattrs, Errno> {
    let read = || {
        let mut found = Xattrs::new();
        for name in of(node).names()?.into_iter().filter(|name| is_content(name)) {
            if let Some(value) = of(node).value(&name)? {
                found.insert(name, value);
            }
        }
        Ok(found)
    };
    read().map_err(errno)
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Where SELinux is on, the mount has the label, and not the file. Overlay's own attributes are no content either: the engine's
/// overlay would take an attribute that a container wrote for its own.
fn is_content(name: &CStr) -> bool {
    let name = name.to_bytes();
    let is_overlays = name.starts_with(OVERLAY);
    let is_mounts = name == b"security.selinux" && label::enabled();
    !is_overlays && !is_mounts
}
