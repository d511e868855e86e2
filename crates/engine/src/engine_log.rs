//! The errors that the engine logged, also in the processes that it cloned: they set up the container, and can return
//! only one word to their parent. A pipe holds the errors, because every process inherits the pipe.
//!
//! The program that subscribes to this process's messages calls [`open`] before the engine does anything, and [`keep`]
//! for each error of the engine. Without these calls, the only reasons are those that the engine returns.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, OnceLock};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

static LOGGED: OnceLock<Pipe> = OnceLock::new();

struct Pipe {
    reader: Mutex<PipeReader>,
    writer: PipeWriter,
}

/// Makes the pipe. A second call in one process changes nothing.
///
/// # Errors
/// pipe2(2)'s.
pub fn open() -> io::Result<()> {
    let (reader, writer) = io::pipe()?;
    for end in [reader.as_fd(), writer.as_fd()] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    let _ = LOGGED.set(Pipe { reader: Mutex::new(reader), writer });
    Ok(())
}

/// Keeps an error that the engine logged, until [`first_error`]. An error for which the pipe has no room is lost.
pub fn keep(words: &str) {
    if let Some(logged) = LOGGED.get() {
        let _ = (&logged.writer).write_all(format!("{}\n", words.replace('\n', " ")).as_bytes());
    }
}

/// The first error that the engine logged, which is the closest to the cause: the engine logs on the way up. The later
/// errors are dropped.
#[must_use]
pub(crate) fn first_error() -> Option<String> {
    let mut text = [0_u8; 4096];
    let read = LOGGED.get()?.reader.lock().ok()?.read(&mut text).ok()?;
    let first = text[..read].split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(first).into_owned()).filter(|words| !words.is_empty())
}

/// Drops the errors that the engine logged.
pub(crate) fn forget() {
    let mut dropped = [0_u8; 4096];
    if let Some(mut reader) = LOGGED.get().and_then(|logged| logged.reader.lock().ok()) {
        // Reading an empty pipe is an error, because no reader waits here.
        while reader.read(&mut dropped).is_ok_and(|read| read > 0) {}
    }
}

/// Replaces the errors that the engine logged by `words`, which the next [`first_error`] of any of these processes
/// returns.
pub(crate) fn explain(words: &str) {
    forget();
    keep(words);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_told_once_and_an_explanation_takes_its_place() {
        keep("nobody subscribed yet");
        assert_eq!(first_error(), None);
        open().unwrap();
        assert_eq!(first_error(), None, "an empty pipe is not waited for");
        keep("the\ndeepest");
        keep("on the way up");
        assert_eq!(first_error().as_deref(), Some("the deepest"));
        assert_eq!(first_error(), None);
        keep("a structure");
        explain("in words");
        assert_eq!(first_error().as_deref(), Some("in words"));
        // The second read begins with the end of a line.
        keep(&"x".repeat(4096));
        keep(&"y".repeat(5000));
        explain("newer");
        assert_eq!(first_error().as_deref(), Some("newer"));
    }
}
