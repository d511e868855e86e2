//! The standard streams of a container's process: the process's user owns them, and can write to /dev/null.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, fchown};

use oci_spec::runtime::{Process, Spec};
use rustix::fs::{FileType, OFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::spec::id_mappings::host_uid;

/// Gives this process's standard streams to the user of `process`, so that the user can open `/dev/stderr` also if that
/// is a pipe of root's.
pub fn give_streams(spec: &Spec, process: &Process) {
    if process.terminal() == Some(true) {
        return;
    }
    if let Some(uid) = host_uid(spec, process.user().uid()) {
        give(std::io::stdin().as_fd(), uid);
        give(std::io::stdout().as_fd(), uid);
        give(std::io::stderr().as_fd(), uid);
    }
}

/// A file whose owner cannot be changed stays as it is, as with runc.
pub(crate) fn give(stream: BorrowedFd<'_>, uid: u32) {
    let Ok(found) = rustix::fs::fstat(stream) else { return };
    let device = (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev));
    if found.st_uid != uid && device != NULL {
        let _ = fchown(stream, Some(uid), None);
    }
}

/// The device number of /dev/null. All users share this device, so its owner stays.
const NULL: (u32, u32) = (1, 3);

fn is_null(stream: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(stream).is_ok_and(|found| {
        let device = (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev));
        FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && device == NULL
    })
}

/// Inside the container, opens the streams of an init process that are /dev/null for reading and writing. The engine
/// has put the container's own device there, opened for reading only, so a program could not write its output to
/// /dev/null.
///
/// A device that the container's user may not open stays as the engine opened it.
///
/// # Errors
/// dup2(2)'s.
pub(crate) fn open_null_for_writing() -> io::Result<()> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let [input, output, error] = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].map(is_null);
    if !(input || output || error) {
        return Ok(());
    }
    // With both modes open(2) also returns at once for a FIFO, which another container may have put there. The FIFO's
    // descriptor is not kept.
    let mut open = File::options();
    open.read(true).write(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
    let Ok(null) = open.open("/dev/null") else { return Ok(()) };
    if !is_null(null.as_fd()) {
        return Ok(());
    }
    if input {
        dup2_stdin(&null)?;
    }
    if output {
        dup2_stdout(&null)?;
    }
    if error {
        dup2_stderr(&null)?;
    }
    Ok(())
}
