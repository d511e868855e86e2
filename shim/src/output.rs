//! What a command prints for its caller.
//!
//! The reader of standard output may end early (`sharedroot status | head -1`), or its disk may be full. `println!` would
//! panic then, in the middle of the work. A command that prints with [`say!`] does its work to the end, and its exit status
//! says that output was lost.
//!
//! SIGPIPE stays ignored, as Rust's runtime sets it. The default action would end a command between two steps, and containers
//! would inherit it.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use nix::sys::signal::Signal;

/// The first error of standard output, after which nothing is printed.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Prints a line to standard output, formatted as by `println!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

pub(crate) use say;

/// See [`say!`].
pub fn line(text: Arguments<'_>) {
    if !is_lost() {
        wrote(writeln!(io::stdout(), "{text}"));
    }
}

/// Notes the result of a write to standard output that another function made.
pub fn wrote(result: io::Result<()>) {
    if let Err(error) = result {
        let _ = LOST.set(error);
    }
}

/// Whether standard output has failed. A command that does nothing but print can end then.
#[must_use]
pub fn is_lost() -> bool {
    LOST.get().is_some()
}

/// The exit code of this process after a command with the exit status `status`. If the reader of standard output has gone, the
/// exit code is the one that a shell gives to a program that SIGPIPE ended, and nothing is reported.
#[must_use]
pub fn exit_code(status: u8) -> ExitCode {
    match LOST.get() {
        None => ExitCode::from(status),
        Some(error) if error.kind() == ErrorKind::BrokenPipe => {
            ExitCode::from(128 + Signal::SIGPIPE as u8)
        }
        Some(error) => {
            tracing::error!("write standard output: {error}");
            ExitCode::FAILURE
        }
    }
}
