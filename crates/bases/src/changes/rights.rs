//! Who may access a file that a write-back has not finished.

use std::ffi::CStr;

use rustix::fs::{FileType, Mode, Stat};

use super::node::kind;

/// The mode of a regular file that is being made alike: nobody gives it to a file of theirs, and its own one is what the file
/// gets last (`give.rs`).
pub(super) const UNFINISHED: Mode = Mode::SVTX;

/// The attribute that holds an inode's POSIX ACL (acl(5)). The kernel keeps no ACL that says only what the mode says.
pub(super) const ACL: &CStr = c"system.posix_acl_access";

/// The rights that people have to a part of a file, and the owner that the part must have for these rights. The same holds for a
/// directory that has a part of what it is to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rights {
    pub(super) mode: Mode,
    owner: (u32, u32),
}

impl Rights {
    /// The rights to a part of a file like `wanted`, which replaces the file `before`, if there is such a file. The part may
    /// hold content of both files, so only a person with a right to both files has that right to the part. Where the owner or
    /// the group differs, the permission bits of the two files are for different people, and only root has a right.
    pub(super) fn of(wanted: &Stat, before: Option<&Stat>) -> Self {
        let both = match before {
            // Left by an earlier write-back: whose content the file has is not known any more.
            Some(before) if is_unfinished(before) || owner(before) != owner(wanted) => 0,
            Some(before) => before.st_mode,
            None => 0o777,
        };
        let mode = Mode::from_raw_mode(wanted.st_mode & both & 0o777);
        Self { mode, owner: owner(wanted) }
    }

    /// The rights where one of the two files has an ACL: the group bits of the mode are then the ACL's mask, and an entry of
    /// the ACL may deny a person what the bits for others allow (acl(5)). Only the owner's bits mean the same without the ACL.
    pub(super) fn of_owner_only(self) -> Self {
        Self { mode: self.mode & Mode::RWXU, ..self }
    }

    /// The mode for the part, whose owner is in `now`.
    pub(super) fn mode_of(self, now: &Stat) -> Mode {
        if owner(now) == self.owner { self.mode } else { Mode::empty() }
    }
}

pub(super) fn is_unfinished(stat: &Stat) -> bool {
    kind(stat) == FileType::RegularFile && stat.st_mode & 0o7777 == UNFINISHED.as_raw_mode()
}

/// The user and the group that own the inode.
pub(super) fn owner(stat: &Stat) -> (u32, u32) {
    (stat.st_uid, stat.st_gid)
}
