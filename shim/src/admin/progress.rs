//! What an administrator sees of work that takes longer than a second: one line on a terminal, which disappears when
//! the work is done.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that takes less time has no line.
const PATIENCE: Duration = Duration::from_secs(1);
const PACE: Duration = Duration::from_millis(100);

/// Shows progress until it is dropped. If standard error is not a terminal, nothing is shown.
pub struct Progress {
    bar: ProgressBar,
    /// Draws the line until the other end is dropped.
    drawer: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Work whose length is unknown: the line has the time that it has taken.
    #[must_use]
    pub fn begin(what: &'static str) -> Self {
        Self::of(ProgressBar::no_length(), "{spinner} {msg}, {elapsed}", what)
    }

    /// Work on a known number of bytes.
    #[must_use]
    pub fn of_bytes(what: &'static str, total: u64) -> Self {
        let form =
            "{msg} [{bar:25}] {percent:>3} %  {binary_bytes} of {binary_total_bytes}, {eta} left";
        Self::of(ProgressBar::new(total), form, what)
    }

    /// Runs some work, and shows its progress.
    pub fn during<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
        let _shown = Self::begin(what);
        work()
    }

    fn of(bar: ProgressBar, form: &str, what: &'static str) -> Self {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        if !io::stderr().is_terminal() {
            return Self { bar, drawer: None };
        }
        // If indicatif does not understand the template, its default stays.
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style.progress_chars("##-"));
        }
        bar.set_message(what);
        let ((alive, end), shown) = (mpsc::channel(), bar.clone());
        let drawer = thread::spawn(move || {
            if end.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            shown.set_draw_target(ProgressDrawTarget::stderr());
            while end.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                shown.tick();
            }
        });
        Self { bar, drawer: Some((alive, drawer)) }
    }

    /// Sets how many bytes are done. Holes count, too; the total may leave them out.
    pub fn show(&self, passed: u64) {
        self.bar.set_position(passed.min(self.bar.length().unwrap_or(passed)));
    }

    /// Counts the bytes that are written.
    pub fn of_writing<W: Write>(&self, to: W) -> impl Write {
        self.bar.wrap_write(to)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((alive, drawer)) = self.drawer.take() {
            drop(alive);
            let _ = drawer.join();
            self.bar.finish_and_clear();
        }
    }
}
