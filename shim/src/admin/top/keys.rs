//! The keys while `top` waits for its next update: `q`, Ctrl-C and Esc end the table.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

/// Ctrl-C and Esc, as a terminal sends them.
const ENDS: [u8; 3] = [b'q', 3, 27];

/// Waits for the given time, or until a key ends the table; returns whether a key did. If `input` is not a terminal, or
/// if this process may not change the terminal because it runs in the background, the function only waits.
pub fn wait(input: &impl AsFd, patience: Duration) -> bool {
    match Raw::of(input.as_fd()) {
        Some(raw) => raw.wait(patience),
        None => {
            std::thread::sleep(patience);
            false
        }
    }
}

/// A terminal that passes on each key immediately and does not show it; dropping this restores the terminal. During an
/// update the terminal has its usual settings, so that Ctrl-C ends a long one.
struct Raw<'t> {
    terminal: BorrowedFd<'t>,
    before: Termios,
}

impl<'t> Raw<'t> {
    fn of(terminal: BorrowedFd<'t>) -> Option<Self> {
        let before = termios::tcgetattr(terminal).ok()?;
        if termios::tcgetpgrp(terminal).ok()? != rustix::process::getpgrp() {
            return None;
        }
        let mut now = before.clone();
        // Ctrl-C arrives as a key, so that the terminal is restored in this case, too.
        now.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        termios::tcsetattr(terminal, OptionalActions::Now, &now).ok()?;
        Some(Self { terminal, before })
    }

    fn wait(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).ok();
            let mut asked = [PollFd::new(&self.terminal, PollFlags::IN)];
            match poll(&mut asked, left.as_ref()) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return true,
            }
            let mut keys = [0; 16];
            match rustix::io::read(self.terminal, &mut keys) {
                Ok(count) if count > 0 && !keys[..count].iter().any(|key| ENDS.contains(key)) => {}
                Err(Errno::INTR) => {}
                // A key was pressed, or the terminal has gone.
                _ => return true,
            }
        }
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        let _ = termios::tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}
