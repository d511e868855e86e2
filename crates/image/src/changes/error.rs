//! Why a change could not be carried over.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;

/// A step on one path of a container's root that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path} of the container's root: {source}")]
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
    /// It is for the sake of this file; others may do.
    pub(super) of_one_file: bool,
}

impl Failed {
    /// What a container may have and an overlay may not.
    pub(super) fn not_in_an_overlay(step: &'static str) -> Self {
        Self { step, source: Errno::NOTSUP, of_one_file: true }
    }
}

pub(super) fn doing(step: &'static str) -> impl FnOnce(Errno) -> Failed {
    // A full or broken disk, and want of memory or descriptors, are the host's and pass.
    let is_hosts = |errno| {
        use Errno as E;
        [E::NOSPC, E::DQUOT, E::IO, E::ROFS, E::NOMEM, E::NFILE, E::MFILE, E::STALE]
            .contains(&errno)
    };
    move |source| Failed { step, source, of_one_file: !is_hosts(source) }
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
