//! Who may do what with a file that a write-back has not finished.

use std::ffi::CStr;

use rustix::fs::{FileType, Mode, Stat};

use super::node::kind;

/// The mode of a regular file that is being made alike: nobody gives it to a file of theirs, and its own one is what the file
/// gets last (`give.rs`).
pub(super) const UNFINISHED: Mode = Mode::SVTX;

/// The attribute of an inode's POSIX ACL (acl(5)). An ACL that is as good as the mode is not kept.
pub(super) const ACL: &CStr = c"system.posix_acl_access";

/// What a part of a file lets people do, and who must own the part for that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rights {
    pub(super) mode: Mode,
    owner: (u32, u32),
}

impl Rights {
    /// The rights of a part of a file like `wanted`, where there was `before`. The part may hold what either file holds, so only
    /// a person with a right to both files has that right to the part. Where the owner or the group differs, the permission
    /// bits of the two files are for different people, and only root has a right.
    pub(super) fn of(wanted: &Stat, before: Option<&Stat>) -> Self {
        let both = match before {
            // What an earlier write-back left: nobody knows any more whose content it has.
            Some(before) if is_unfinished(before) || owner(before) != owner(wanted) => 0,
            Some(before) => before.st_mode,
            None => 0o777,
        };
        let mode = Mode::from_raw_mode(wanted.st_mode & both & 0o777);
        Self { mode, owner: owner(wanted) }
    }

    /// The rights where one of the two files has an ACL: the group bits of its mode are the ACL's mask, and an entry may keep
    /// from a person what the bits for others allow (acl(5)). Only the owner's bits mean the same without the ACL.
    pub(super) fn of_owner_only(self) -> Self {
        Self { mode: self.mode & Mode::RWXU, ..self }
    }

    /// The mode for the part, which is owned as `now` says.
    pub(super) fn mode_of(self, now: &Stat) -> Mode {
        if owner(now) == self.owner { self.mode } else { Mode::empty() }
    }
}

pub(super) fn is_unfinished(stat: &Stat) -> bool {
    kind(stat) == FileType::RegularFile && stat.st_mode & 0o7777 == UNFINISHED.as_raw_mode()
}

/// The user and the group that own it.
pub(super) fn owner(stat: &Stat) -> (u32, u32) {
    (stat.st_uid, stat.st_gid)
}
