//! Why a change could not be carried over.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;

use super::rights::Rights;

/// A step on one path of a container's root that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path} of the container's root")]
pub struct ChangeError {
    /// What was tried.
    pub step: &'static str,
    /// The path in the container; its beginning and its end if it is long.
    pub path: PathBuf,
    /// The operating system's reason.
    pub source: Errno,
}

impl ChangeError {
    pub(super) fn at(step: &'static str, path: &str) -> impl FnOnce(Errno) -> Self {
        move |source| Self { step, path: path.into(), source }
    }
}

/// What the second tree could not take while it got the rest.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// How many files.
    pub count: u64,
    /// The first of them, with the reasons.
    pub first: Vec<ChangeError>,
}

impl LeftOut {
    /// How many are named; a container can make as many as its root has room for.
    const NAMED: usize = 3;

    pub(super) fn add(&mut self, error: ChangeError) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(error);
        }
    }
}

/// A step that failed, where the caller knows the path.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) step: &'static str,
    pub(super) source: Errno,
    pub(super) of: Of,
    /// The rights of the part of a file that the second tree has now, if there is one.
    pub(super) part: Option<Rights>,
}

/// What a failure is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// This file: others may do.
    File,
    /// The host: its disk is broken, or it has no memory or descriptors. That passes.
    Host,
    /// Want of room. A full disk says so, and a file system with room says the same of one file: the index of its directory is
    /// full, an attribute does not fit into its inode, a quota of its directory or of its owner is used up.
    Room,
    /// The same of what takes no content: an attribute, or a removal, which takes a name.
    RoomForNoContent,
}

impl Failed {
    /// What failed would have taken no content.
    pub(super) fn without_content(self) -> Self {
        match self.of {
            Of::Room => Self { of: Of::RoomForNoContent, ..self },
            _ => self,
        }
    }

    /// What a container may have and an overlay may not.
    pub(super) fn not_in_an_overlay(step: &'static str) -> Self {
        Self { step, source: Errno::NOTSUP, of: Of::File, part: None }
    }

    /// What failed may have left a part of a file, which is to have these rights if it is left out.
    pub(super) fn with_part(self, rights: Rights) -> Self {
        Self { part: Some(rights), ..self }
    }
}

pub(super) fn doing(step: &'static str) -> impl FnOnce(Errno) -> Failed {
    // All others are of the file, also what a broken inode gives (EUCLEAN): what its snapshot has alone is not lost.
    let of = |errno| match errno {
        Errno::NOSPC | Errno::DQUOT => Of::Room,
        Errno::IO | Errno::ROFS | Errno::NOMEM | Errno::NFILE | Errno::MFILE | Errno::STALE => {
            Of::Host
        }
        _ => Of::File,
    };
    move |source| Failed { step, source, of: of(source), part: None }
}

/// What a directory, an attribute and a file system's own tables may take besides a file's content.
const MORE_BYTES: u64 = 1 << 20;
const MORE_INODES: u64 = 16;

/// Whether the file system of `store` has room for so many bytes: what it refused then for want of room is of one file.
pub(super) fn has_room(store: BorrowedFd<'_>, bytes: u64) -> bool {
    rustix::fs::fstatvfs(store).is_ok_and(|found| {
        // One that makes inodes as it needs them has no number of them.
        let inodes = found.f_files == 0 || found.f_favail > MORE_INODES;
        inodes && found.f_bavail.saturating_mul(found.f_frsize) > bytes.saturating_add(MORE_BYTES)
    })
}

/// How many names of a path an error shows; an image may nest directories without an end.
const SHOWN: usize = 32;

/// `/` and the names below it.
pub(super) fn path<'a>(names: impl ExactSizeIterator<Item = &'a [u8]>) -> PathBuf {
    let (mut path, left_out) = (PathBuf::from("/"), names.len().saturating_sub(SHOWN));
    for (at, name) in names.enumerate() {
        match at.checked_sub(SHOWN / 2) {
            Some(0) if left_out > 0 => path.push(format!("({left_out} more)")),
            Some(beyond) if beyond < left_out => {}
            _ => path.push(OsStr::from_bytes(name)),
        }
    }
    path
}
