//! Owner, mode, times and extended attributes of an inode, read and compared.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, Stat};
use rustix::io::Errno;
use sharedroot_label as label;
use sharedroot_sys::xattr::Of;

use super::node::Node;
use super::rights::{ACL, Rights, UNFINISHED, owner};

/// The attribute that marks a part of a file that was left out. Its value is the modification time of the part (`part.rs`).
pub(super) const MARK: &CStr = c"trusted.sharedroot.part";

/// The bits of a mode that are no permissions.
pub(super) const SPECIAL: Mode = Mode::SUID.union(Mode::SGID).union(Mode::SVTX);

/// What the names of overlay's own attributes begin with.
const OVERLAY: &[u8] = b"trusted.overlay.";

/// The extended attributes that belong to the content of a root.
pub(super) type Xattrs = BTreeMap<CString, Vec<u8>>;

/// What a node has besides its content.
#[derive(Debug)]
pub(super) struct Attributes {
    pub(super) stat: Stat,
    pub(super) xattrs: Xattrs,
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
}

/// Whether a regular file got all that a write-back gives it, but perhaps for an extended attribute that did not fit, and for
/// the bits of its mode that an ACL does not set: the mode comes after the ACL.
pub(super) fn is_finished(from: &Stat, to: &Stat) -> bool {
    let has_acl = from.st_mode & !SPECIAL.as_raw_mode() | UNFINISHED.as_raw_mode();
    owner(from) == owner(to)
        && (to.st_mode == from.st_mode || to.st_mode == has_acl)
        && from.st_size == to.st_size
        && same_time(from, to)
}

/// Whether the inode has attributes of an overlay's layer: an overlay inside the container uses this inode.
pub(super) fn is_of_a_layer(node: &Node) -> Result<bool, Errno> {
    let names = of(node).names().map_err(errno)?;
    Ok(names.iter().any(|name| name.to_bytes().starts_with(OVERLAY)))
}

pub(super) fn modified(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

/// mke2fs gives a base's files whole seconds, and no file that only lost its fraction is a changed one.
pub(super) fn same_time(from: &Stat, to: &Stat) -> bool {
    let ((from, fraction), to) = (modified(from), modified(to));
    from == to.0 && (fraction == to.1 || fraction == 0)
}

fn of(node: &Node) -> Of<'_> {
    Of::Path(Path::new(OsStr::from_bytes(node.path().to_bytes())))
}

pub(super) fn xattrs(node: &Node) -> Result<Xattrs, Errno> {
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
