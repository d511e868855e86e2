//! The standard streams of a container's process: its user owns them, and can write to /dev/null.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, fchown};

use oci_spec::runtime::{Process, Spec};
use rustix::fs::{FileType, OFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::spec::id_mappings::host_uid;

/// Gives this process's standard streams to the user of `process`, so that it can open
/// `/dev/stderr` also where that is a pipe of root's.
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

/// A file that cannot change hands is left as it is, as runc leaves it.
pub(crate) fn give(stream: BorrowedFd<'_>, uid: u32) {
    let Ok(found) = rustix::fs::fstat(stream) else { return };
    let device = (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev));
    if found.st_uid != uid && device != NULL {
        let _ = fchown(stream, Some(uid), None);
    }
}

/// /dev/null, which is everybody's.
const NULL: (u32, u32) = (1, 3);

fn is_null(stream: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(stream).is_ok_and(|found| {
        let device = (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev));
        FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && device == NULL
    })
}

/// Opens the streams of an init process that are /dev/null for reading and writing, inside the container. The engine has put
/// the container's own device there by then, opened for reading: a program whose output goes to /dev/null could not write.
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
    // For both also a FIFO opens at once, should another container have put one there: of that nothing is kept.
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
