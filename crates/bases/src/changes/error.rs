//! Why a change could not be carried over.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;

use super::rights::Rights;

/// A step failed on one path of a container's root.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path} of the container's root")]
pub struct ChangeError {
    /// The step.
    pub step: &'static str,
    /// The path in the container. Of a long path, only the beginning and the end.
    pub path: PathBuf,
    /// The operating system's reason.
    pub source: Errno,
}

impl ChangeError {
    pub(super) fn at(step: &'static str, path: &str) -> impl FnOnce(Errno) -> Self {
        move |source| Self { step, path: path.into(), source }
    }
}

/// What the second tree could not take. It got everything else.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// The number of files.
    pub count: u64,
    /// The first of these files, with the reasons.
    pub first: Vec<ChangeError>,
}

impl LeftOut {
    /// How many files are named. A container can make as many files as its root has room for.
    const NAMED: usize = 3;

    pub(super) fn add(&mut self, error: ChangeError) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(error);
        }
    }
}

/// A step that failed, for a caller that knows the path.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) step: &'static str,
    pub(super) source: Errno,
    pub(super) of: Of,
    /// The rights of the part of the file that is in the second tree now, if there is such a part.
    pub(super) part: Option<Rights>,
}

/// What a failure concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// This file alone: other files may succeed.
    File,
    /// The host: its disk is broken, or it lacks memory or descriptors. Such a failure passes.
    Host,
    /// Room. A full disk gives this error. A file system with room gives the same error for one file when the index of its
    /// directory is full, when an attribute does not fit into its inode, or when a quota of its directory or of its owner is
    /// used up.
    Room,
    /// Room, for a step that needs none for content: an attribute, or a removal, for which the overlay makes a whiteout.
    RoomForNoContent,
}

impl Failed {
    /// Marks the failed step as a step that needs no room for content.
    pub(super) fn without_content(self) -> Self {
        match self.of {
            Of::Room => Self { of: Of::RoomForNoContent, ..self },
            _ => self,
        }
    }

    /// The error for a thing that a container may have and an overlay may not.
    pub(super) fn not_in_an_overlay(step: &'static str) -> Self {
        Self { step, source: Errno::NOTSUP, of: Of::File, part: None }
    }

    /// Marks that the failed step may have left a part of a file. If the file is left out, the part gets these rights.
    pub(super) fn with_part(self, rights: Rights) -> Self {
        Self { part: Some(rights), ..self }
    }
}

pub(super) fn doing(step: &'static str) -> impl FnOnce(Errno) -> Failed {
    // Of a regular file that is opened without waiting.
    const LEASED: &str = "read, while a process has a lease of it (fcntl(2)),";
    // An overlay gives this error for a file that was changed through another mount of its upper directory.
    const MOVED: &str = "go on, while another process moves it or what is in it, with";
    // All other errors concern the file, also the error of a broken inode (EUCLEAN): so the rest of the snapshot is not lost.
    let of = |errno| match errno {
        Errno::NOSPC | Errno::DQUOT => Of::Room,
        Errno::IO | Errno::ROFS | Errno::NOMEM | Errno::NFILE | Errno::MFILE => Of::Host,
        _ => Of::File,
    };
    move |source| {
        let step = match source {
            Errno::AGAIN => LEASED,
            Errno::STALE => MOVED,
            _ => step,
        };
        Failed { step, source, of: of(source), part: None }
    }
}

/// Room for a directory, an attribute and the file system's own tables, besides a file's content.
const MORE_BYTES: u64 = 1 << 20;
const MORE_INODES: u64 = 16;

/// Whether the file system of `store` has room for `bytes`. If so, an error for want of room concerns one file.
pub(super) fn has_room(store: BorrowedFd<'_>, bytes: u64) -> bool {
    rustix::fs::fstatvfs(store).is_ok_and(|found| {
        // A file system that makes inodes on demand reports no number of inodes.
        let inodes = found.f_files == 0 || found.f_favail > MORE_INODES;
        inodes && found.f_bavail.saturating_mul(found.f_frsize) > bytes.saturating_add(MORE_BYTES)
    })
}

/// How many names of a path an error shows; an image may nest directories to any depth.
const SHOWN: usize = 32;

/// The path of the names, beginning with `/`.
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
