//! What a command prints for its caller.
//!
//! The caller may read no further (`sharedroot status | head -1`), or have no room for it. `println!` would panic then, in
//! the midst of what the command does. A command that prints with [`say!`] does its work to the end; that somebody does
//! not know of it, its exit status says.
//!
//! SIGPIPE is left as it is, ignored: it would end a command between two steps, and containers would inherit it.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use nix::sys::signal::Signal;
use sharedroot_sys::chain::readable;

/// Why nothing is printed any more.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Prints a line to standard output, formatted as by `println!`.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

/// Prints a line to standard error, formatted as by `eprintln!`. Where that fails nobody is left to be told.
macro_rules! say_aside {
    ($($text:tt)*) => { $crate::output::aside(format_args!($($text)*)) };
}

pub(crate) use {say, say_aside};

/// See [`say!`].
pub fn line(text: Arguments<'_>) {
    if !is_lost() {
        wrote(writeln!(io::stdout(), "{text}"));
    }
}

/// See [`say_aside!`].
pub fn aside(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{}", readable(&text.to_string()));
}

/// Takes note of what became of other writing to standard output.
pub fn wrote(result: io::Result<()>) {
    if let Err(error) = result {
        let _ = LOST.set(error);
    }
}

/// Whether nobody gets what is printed, so that a command which does nothing else can end.
#[must_use]
pub fn is_lost() -> bool {
    LOST.get().is_some()
}

/// How this process ends after a command with that exit status. If its reader has gone, as if by SIGPIPE: in silence, with
/// the status that a shell gives to a program that this signal ended.
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
