//! A delegate's `create` whose caller was killed. The delegate goes on, and no process waits for it. A note of the
//! delegate's process, beside the delegate's containers, lets the next `create` or `delete` wait for it.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sharedroot_format::ContainerId;
use sharedroot_sys::process::started;

/// How long a `create` may go on without its caller.
const PATIENCE_MS: u16 = 10_000;

/// The note of one container. Dropping it removes the file.
#[derive(Debug)]
pub struct Note(PathBuf);

/// The path of the note. No container can have such an ID, because of the colon.
fn path(state: &Path, id: &ContainerId) -> PathBuf {
    state.join(format!("create:{id}"))
}

impl Note {
    /// Writes the note of the process `child`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn of(state: &Path, id: &ContainerId, child: Pid) -> io::Result<Self> {
        let note = Self(path(state, id));
        // The start time is noted, too: when the note is read, another process may have the number.
        let start = started(child.as_raw())?.unwrap_or_default();
        std::fs::write(&note.0, format!("{child} {start}"))?;
        Ok(note)
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Waits for the end of the noted process, and kills the process if it does not end in time. The wait comes first,
/// because a delegate that ends by itself leaves a whole container, which it can remove whole. The caller holds the
/// container's lock, so no other command waits for the process.
///
/// # Errors
/// The process cannot be waited for or killed.
pub fn end(state: &Path, id: &ContainerId) -> io::Result<()> {
    let note = Note(path(state, id));
    let Ok(text) = std::fs::read_to_string(&note.0) else { return Ok(()) };
    let Some((pid, start)) = text.split_once(' ') else { return Ok(()) };
    let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) else {
        return Ok(());
    };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    if started(pid.as_raw_nonzero().get())?.as_deref() != Some(start) {
        return Ok(());
    }
    let ends = || {
        let mut end = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        poll(&mut end, PollTimeout::from(PATIENCE_MS)).map(|ended| ended > 0)
    };
    if !ends()? {
        tracing::warn!("killing process {pid:?}, which a killed create of {id} left behind");
        pidfd_send_signal(&process, Signal::KILL)?;
        ends()?;
    }
    Ok(())
}
