//! The keys while the table is shown: any of `q`, Ctrl-C and Esc ends it, and the terminal is as before.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

/// Ctrl-C and Esc, as a terminal sends them.
const ENDS: [u8; 3] = [b'q', 3, 27];

/// A terminal that gives each key at once and does not show it; as it was when this is dropped.
pub struct Keys<'t> {
    terminal: BorrowedFd<'t>,
    before: Termios,
}

impl<'t> Keys<'t> {
    /// Of standard input; none where that is no terminal, or not this process's to change: it runs in the background.
    pub fn of(terminal: &'t impl AsFd) -> Option<Self> {
        let terminal = terminal.as_fd();
        let before = termios::tcgetattr(terminal).ok()?;
        if termios::tcgetpgrp(terminal).ok()? != rustix::process::getpgrp() {
            return None;
        }
        let mut now = before.clone();
        // Ctrl-C comes as a key, so that it, too, leaves the terminal as it was.
        now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        termios::tcsetattr(terminal, OptionalActions::Now, &now).ok()?;
        Some(Self { terminal, before })
    }

    /// Waits for so long, or until a key says that it is enough. Returns whether it did.
    pub fn wait(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).ok();
            let mut asked = [PollFd::new(&self.terminal, PollFlags::IN)];
            match poll(&mut asked, left.as_ref()) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(_) => return true,
            }
            let mut keys = [0; 16];
            match rustix::io::read(self.terminal, &mut keys) {
                // The terminal has gone.
                Ok(0) => return true,
                Ok(count) if keys[..count].iter().any(|key| ENDS.contains(key)) => return true,
                Ok(_) => {}
                Err(error) => {
                    let again = io::Error::from(error).kind() == io::ErrorKind::Interrupted;
                    if !again {
                        return true;
                    }
                }
            }
        }
    }
}

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}
