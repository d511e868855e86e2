//! The standard streams of a process.
//!
//! | file | story |
//! |---|---|
//! | `fifo` | containerd's FIFOs, for the process itself or for a relay |
//! | `taker` | a process that takes the output: a logger, or one that copies into a file |
//!
//! A process gets containerd's FIFOs themselves, and nobody relays what it reads and writes. Where a security module could keep
//! the process from them, the process gets pipes, which the server relays: policies know them from containerd's own shim.
//!
//! No process gets a file of the host as its output: it could cut the file off, or give it another owner.

mod fifo;
mod taker;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use sharedroot_task::Id;
use sharedroot_task::stream::{NotAStream, Stream};
use taker::Taker;

use super::Failed;
use crate::report::Keep;

/// The texts of a request's streams.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Standard input.
    pub stdin: &'a str,
    /// Standard output.
    pub stdout: &'a str,
    /// Standard error.
    pub stderr: &'a str,
}

/// Who uses the streams, for a logger's environment.
#[derive(Debug, Clone, Copy)]
pub struct User<'a> {
    /// containerd's namespace.
    pub namespace: &'a Id,
    /// The container, or the exec.
    pub id: &'a str,
    /// The logger's working directory.
    pub bundle: &'a Path,
}

/// How bytes get from a FIFO to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The process has the FIFO.
    Direct,
    /// The process has a pipe, and the server relays.
    Relayed,
}

impl Route {
    /// The route for a process with an AppArmor profile. execve(2) replaces a FIFO that the process's domain may not use by
    /// /dev/null, and says nothing.
    ///
    /// # Errors
    /// The profile is not known. It is asked for only where the kernel has AppArmor.
    pub fn of(profile: impl FnOnce() -> Result<String, Failed>) -> Result<Self, Failed> {
        let confined = selinux_enforces()
            || (has_apparmor() && !["", "unconfined"].contains(&profile()?.as_str()));
        Ok(if confined { Self::Relayed } else { Self::Direct })
    }
}

fn has_apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.starts_with(b"Y"))
}

fn selinux_enforces() -> bool {
    std::fs::read("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim_ascii() == b"1")
}

/// Which of a process's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    Output,
    Error,
}

/// The streams of one process. Dropping this value ends the processes that were started to take the output.
#[derive(Debug)]
pub struct Streams {
    input: OwnedFd,
    output: OwnedFd,
    error: OwnedFd,
    kept: Vec<(Keep, OwnedFd)>,
    takers: Vec<Taker>,
}

impl Streams {
    /// Opens the streams. This waits for nobody but a logger, and for a logger not longer than [`taker::PATIENCE`].
    ///
    /// # Errors
    /// A stream is of a kind that this shim does not know, or cannot be opened.
    pub fn open(asked: &Asked<'_>, route: Route, user: &User<'_>) -> Result<Self, Failed> {
        let mut kept = Vec::new();
        let input = match asked.stdin.parse()? {
            Stream::Null => null()?,
            stream => fifo::input(&stream, route, &mut kept)?,
        };
        let stdout: Stream = asked.stdout.parse()?;
        // As with containerd's own shim, the standard error goes with the standard output to a logger or into a file.
        let stderr: Stream = match &stdout {
            Stream::Logger(_) | Stream::File(_) => stdout.clone(),
            _ => asked.stderr.parse()?,
        };
        if stdout == stderr && (matches!(stdout, Stream::Logger(_)) || fifo::is_file(&stdout)?) {
            let (output, error, taker) = taker::both(&stdout, user)?;
            return Ok(Self { input, output, error, kept, takers: vec![taker] });
        }
        let mut takers = Vec::new();
        let mut open = |stream: &Stream, which| match stream {
            Stream::Null => null(),
            Stream::Logger(_) => Err(Failed::invalid("a logger for the standard error only")),
            stream if fifo::is_file(stream)? => {
                let (output, _, taker) = taker::both(stream, user)?;
                takers.push(taker);
                Ok(output)
            }
            stream => fifo::output(stream, which, route, &mut kept),
        };
        let (output, error) = (open(&stdout, Output::Output)?, open(&stderr, Output::Error)?);
        Ok(Self { input, output, error, kept, takers })
    }

    /// Opens the streams of a process with a terminal: the server relays.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_terminal(asked: &Asked<'_>, user: &User<'_>) -> Result<Self, Failed> {
        let mut kept = Vec::new();
        match asked.stdin.parse()? {
            Stream::Null => {}
            stream => fifo::client_input(&stream, &mut kept)?,
        }
        let mut takers = Vec::new();
        match asked.stdout.parse()? {
            Stream::Null => {}
            stream if matches!(stream, Stream::Logger(_)) || fifo::is_file(&stream)? => {
                // Nothing is written to the standard error of a terminal: a logger reads its end at once.
                let (output, _, taker) = taker::both(&stream, user)?;
                kept.push((Keep::ClientOutput, output));
                takers.push(taker);
            }
            stream => fifo::client_output(&stream, Output::Output, &mut kept)?,
        }
        Ok(Self { input: null()?, output: null()?, error: null()?, kept, takers })
    }

    /// Makes them the streams of this process.
    ///
    /// # Errors
    /// dup2(2)'s.
    pub fn take_places(self) -> io::Result<Taken> {
        dup2_stdin(&self.input)?;
        dup2_stdout(&self.output)?;
        dup2_stderr(&self.error)?;
        Ok(Taken { kept: self.kept, takers: self.takers })
    }
}

/// What the server keeps of streams that are in their places. Dropping this value ends the processes that take the output.
#[derive(Debug)]
#[must_use]
pub struct Taken {
    kept: Vec<(Keep, OwnedFd)>,
    takers: Vec<Taker>,
}

impl Taken {
    /// What the server keeps.
    pub fn keep(self) -> Vec<(Keep, OwnedFd)> {
        let takers = self.takers.into_iter().map(|taker| (Keep::Logger, taker.keep()));
        self.kept.into_iter().chain(takers).collect()
    }
}

impl From<NotAStream> for Failed {
    fn from(error: NotAStream) -> Self {
        match error {
            NotAStream::Scheme(_) => Self::unsupported(error),
            NotAStream::Relative(_) | NotAStream::Byte(_) => Self::invalid(error),
        }
    }
}

fn null() -> Result<OwnedFd, Failed> {
    fifo::open(Path::new("/dev/null"), OFlags::RDWR)
}

fn create(path: &Path) -> Result<OwnedFd, Failed> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(|e| fail(dir)(e))?;
    }
    // Not a FIFO without a reader: open(2) would wait for one.
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NONBLOCK;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)).map_err(fail(path))?;
    rustix::io::ioctl_fionbio(&file, false).map_err(fail(path))?;
    Ok(file)
}

fn fail<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> Failed {
    move |error| Failed::other(format!("open the stream {}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
