//! A notice to everybody who reads an engine's overlay: the overlay lacks files that only the snapshot has.
//!
//! `docker cp`, `export`, `diff` and `commit` of a stopped container call no runtime, and `docker commit` of a running
//! container goes on after a failed pause. So the overlay itself must tell. At its top there is a directory whose name is the
//! message. The directory holds one file, `.wh.`. A program that unpacks a layer of this overlay takes the file for the sign
//! that the directory itself is removed, and fails, because the directory exists (moby: pkg/archive,
//! `overlayWhiteoutConverter.ConvertRead`; containers/storage does the same; containerd refuses the name: core/archive,
//! `applyNaive`). So no image is made. Docker's error shows the message. The errors of podman and containerd do not show it,
//! but their `diff` does.
//!
//! The notice is never in the container's root. The note has the notice's name before the notice is made, so it is never taken
//! for a file of the container. The notice is removed before anything is written back or brought into a snapshot.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::SystemTime;

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use sharedroot_sys::resolve::Resolve;

use super::note::Note;
use crate::error::{RootfsError, file};

/// Engines take this name for the sign that the directory which holds it is removed.
const REMOVED: &str = ".wh.";

/// Removes the notice of `note` from its overlay. `tree` is the overlay, or its upper directory.
///
/// # Errors
/// [`RootfsError::File`].
pub(crate) fn take_notice(note: &mut Note, tree: impl AsFd) -> Result<(), RootfsError> {
    let Some(name) = note.notice.take() else { return Ok(()) };
    take(tree.as_fd(), &name).map_err(failed("remove", note, &name))
}

pub(crate) fn failed<'a>(
    step: &'static str,
    note: &'a Note,
    name: &'a str,
) -> impl FnOnce(Errno) -> RootfsError + 'a {
    move |errno| file(step, &note.root_path.join(name))(errno.into())
}

/// A longer name for a notice. It contains the time, so nobody can have made a file of this name before.
pub(crate) fn another(name: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let first = name.split_once(" (").map_or(name, |(first, _)| first);
    format!("{first} ({})", now.as_nanos())
}

/// Makes a notice of this name at the top of an overlay.
pub(crate) fn put(top: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o755);
    rustix::fs::mkdirat(top, name, mode)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600);
    let made = open(top, name).and_then(|dir| rustix::fs::openat(dir, REMOVED, flags, mode));
    made.map(drop).inspect_err(|_| {
        let _ = rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR);
    })
}

/// Removes the directory if it holds nothing but what [`put`] made. Any other directory belongs to somebody else.
fn take(top: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let dir = match open(top, name) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        dir => dir?,
    };
    let mut names = Vec::<CString>::new();
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    match names.as_slice() {
        [] => {}
        [only] if only.as_bytes() == REMOVED.as_bytes() => {
            rustix::fs::unlinkat(&dir, REMOVED, AtFlags::empty())?;
        }
        _ => return Ok(()),
    }
    rustix::fs::unlinkat(top, name, AtFlags::REMOVEDIR)
}

fn open(top: BorrowedFd<'_>, name: &str) -> Result<std::os::fd::OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    Resolve::OneTree.open(top, name, flags)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_notice_goes_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let top = File::open(dir).unwrap();
        put(top.as_fd(), "notice").unwrap();
        assert_eq!(put(top.as_fd(), "notice"), Err(Errno::EXIST));
        take(top.as_fd(), "notice").unwrap();
        take(top.as_fd(), "notice").unwrap();
        assert!(!dir.join("notice").exists());
        // An unfinished notice.
        fs::create_dir(dir.join("notice")).unwrap();
        take(top.as_fd(), "notice").unwrap();
        // A notice into which somebody wrote a file, and a directory that never was a notice.
        put(top.as_fd(), "notice").unwrap();
        fs::write(dir.join("notice/copied"), "").unwrap();
        fs::write(dir.join("file"), "").unwrap();
        std::os::unix::fs::symlink("notice", dir.join("link")).unwrap();
        for name in ["notice", "file", "link"] {
            take(top.as_fd(), name).unwrap();
            assert!(fs::symlink_metadata(dir.join(name)).is_ok(), "{name}");
        }
        assert!(dir.join("notice/.wh.").exists());
        let (one, two) = (another("a name"), another("a name (5)"));
        assert!(one.starts_with("a name (") && two.starts_with("a name (") && !two.contains("(5)"));
    }
}
