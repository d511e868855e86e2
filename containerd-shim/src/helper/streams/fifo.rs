//! containerd's FIFOs, for the process itself or for a relay.
//!
//! The server keeps a reading end of each output, so that a process whose client has gone is not ended by SIGPIPE: as with
//! containerd's own shim, the process waits when the FIFO is full. The server also keeps a writing end of the input until
//! `CloseIO`: without it, a process that reads before its client has opened the FIFO would read the end of the file.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use sharedroot_task::stream::Stream;

use super::{Failed, Output, Route, fail};
use crate::report::Keep;

/// The kept descriptors of the streams.
type Kept = Vec<(Keep, OwnedFd)>;

/// Whether the stream leads to a file that is no FIFO. A file that is not there yet is one if it is to be made.
pub fn is_file(stream: &Stream) -> Result<bool, Failed> {
    let path = match stream {
        Stream::Null | Stream::Logger(_) => return Ok(false),
        Stream::File(_) => return Ok(true),
        Stream::Path(path) => path,
    };
    let found = rustix::fs::stat(path).map_err(fail(path))?;
    Ok(FileType::from_raw_mode(found.st_mode) != FileType::Fifo)
}

/// The input of a process.
pub fn input(stream: &Stream, route: Route, kept: &mut Kept) -> Result<OwnedFd, Failed> {
    let (path, reader) = reader(stream, kept)?;
    match route {
        Route::Direct => {
            rustix::io::ioctl_fionbio(&reader, false).map_err(fail(path))?;
            Ok(reader)
        }
        Route::Relayed => {
            let (input, writer) = pipe()?;
            kept.push((Keep::ClientInput, reader));
            kept.push((Keep::ProcessInput, writer));
            Ok(input)
        }
    }
}

/// The input of a terminal.
pub fn client_input(stream: &Stream, kept: &mut Kept) -> Result<(), Failed> {
    let (_, reader) = reader(stream, kept)?;
    kept.push((Keep::ClientInput, reader));
    Ok(())
}

/// A reading end that does not wait; the writing end is kept.
fn reader<'a>(stream: &'a Stream, kept: &mut Kept) -> Result<(&'a PathBuf, OwnedFd), Failed> {
    let Stream::Path(path) = stream else {
        return Err(Failed::unsupported("a standard input that is no FIFO"));
    };
    // Without a writer, open(2) would wait for one.
    let reader = open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    if !is_fifo(&reader)? {
        // The process could open a file again for writing.
        return Err(Failed::unsupported(format!("the standard input {path:?}, which is no FIFO")));
    }
    kept.push((Keep::Input, open(path, OFlags::WRONLY)?));
    Ok((path, reader))
}

/// An output of a process.
pub fn output(
    stream: &Stream,
    which: Output,
    route: Route,
    kept: &mut Kept,
) -> Result<OwnedFd, Failed> {
    match route {
        Route::Direct => {
            let (reader, writer) = ends(stream)?;
            kept.push((Keep::Output, reader));
            Ok(writer)
        }
        Route::Relayed => {
            client_output(stream, which, kept)?;
            let (reader, output) = pipe()?;
            let keep = match which {
                Output::Output => Keep::ProcessOutput,
                Output::Error => Keep::ProcessError,
            };
            kept.push((keep, reader));
            Ok(output)
        }
    }
}

/// The FIFO to which the server writes.
pub fn client_output(stream: &Stream, which: Output, kept: &mut Kept) -> Result<(), Failed> {
    let (reader, writer) = ends(stream)?;
    let (to, of) = match which {
        Output::Output => (Keep::ClientOutput, Keep::OutputReader),
        Output::Error => (Keep::ClientError, Keep::ErrorReader),
    };
    kept.push((to, writer));
    kept.push((of, reader));
    Ok(())
}

fn ends(stream: &Stream) -> Result<(OwnedFd, OwnedFd), Failed> {
    let Stream::Path(path) = stream else {
        return Err(Failed::invalid("an output without a path"));
    };
    let reader = open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    if !is_fifo(&reader)? {
        return Err(Failed::invalid(format!("the stream {path:?} is no FIFO any more")));
    }
    // There is a reader, so this does not wait.
    Ok((reader, open(path, OFlags::WRONLY)?))
}

/// A pipe: the reading end, and the writing end.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Failed> {
    let (reader, writer) = io::pipe().map_err(|e| Failed::other(format!("make a pipe: {e}")))?;
    Ok((reader.into(), writer.into()))
}

/// containerd's directories are root's alone, so no other user has put a link there.
pub fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Failed> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open(path, flags, Mode::empty()).map_err(fail(path))
}

fn is_fifo(file: &OwnedFd) -> Result<bool, Failed> {
    let found = rustix::fs::fstat(file).map_err(|e| Failed::other(format!("stat: {e}")))?;
    Ok(FileType::from_raw_mode(found.st_mode) == FileType::Fifo)
}
