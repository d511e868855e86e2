//! The standard streams of a process: containerd's FIFOs, opened for the process itself. Nobody relays what it reads and
//! writes.
//!
//! The server keeps a reading end of each output, so that a process whose client has gone is not ended by SIGPIPE: as with
//! containerd's own shim, the process waits when the FIFO is full. The server also keeps a writing end of the input until
//! `CloseIO`: without it, a process that reads before its client has opened the FIFO would read the end of the file.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use super::Failed;
use crate::report::Keep;

/// Where a stream leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Nowhere: /dev/null.
    Null,
    /// A FIFO, or a file that is there.
    Path(PathBuf),
    /// A file that is made where it is missing (`file://`).
    File(PathBuf),
}

impl Place {
    /// Reads what containerd gives for a stream: nothing, a path, or a URI.
    fn parse(text: &str) -> Result<Self, Failed> {
        let absolute = |path: &str| {
            let path = PathBuf::from(path);
            if path.is_absolute() {
                return Ok(path);
            }
            Err(Failed::invalid(format!("the stream {text:?} has no absolute path")))
        };
        match text.split_once("://") {
            None if text.is_empty() => Ok(Self::Null),
            None => absolute(text).map(Self::Path),
            Some(("fifo", path)) => absolute(path).map(Self::Path),
            Some(("file", path)) => absolute(path).map(Self::File),
            Some((scheme, _)) => {
                Err(Failed::unsupported(format!("streams of the kind {scheme}://")))
            }
        }
    }
}

/// The streams of one process.
#[derive(Debug)]
pub struct Streams {
    input: OwnedFd,
    output: OwnedFd,
    error: OwnedFd,
    kept: Vec<(Keep, OwnedFd)>,
}

impl Streams {
    /// Opens the streams. This waits for nobody.
    ///
    /// # Errors
    /// A stream is of a kind that this shim does not know, or cannot be opened.
    pub fn open(stdin: &str, stdout: &str, stderr: &str) -> Result<Self, Failed> {
        let mut kept = Vec::new();
        let input = input(&Place::parse(stdin)?, &mut kept)?;
        let [output, error] = [stdout, stderr].map(|text| output(&Place::parse(text)?, &mut kept));
        let (output, error) = (output?, error?);
        // execve(2) would replace a FIFO that the process's domain may not use by /dev/null, and say nothing.
        if !kept.is_empty() && selinux_enforces() {
            return Err(Failed::unsupported("FIFOs as streams where SELinux enforces"));
        }
        Ok(Self { input, output, error, kept })
    }

    /// Opens the streams of a process with a terminal: the server relays, so its ends never wait.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_terminal(stdin: &str, stdout: &str) -> Result<Self, Failed> {
        let (stdin, stdout) = (Place::parse(stdin)?, Place::parse(stdout)?);
        let mut kept = Vec::new();
        if stdin != Place::Null {
            let reader = input(&stdin, &mut kept)?;
            kept.push((Keep::TerminalInput, reader));
        }
        if stdout != Place::Null {
            let writer = output(&stdout, &mut kept)?;
            kept.push((Keep::TerminalOutput, writer));
        }
        for (_, end) in &kept {
            rustix::io::ioctl_fionbio(end, true)
                .map_err(|e| Failed::other(format!("streams: {e}")))?;
        }
        Ok(Self { input: null()?, output: null()?, error: null()?, kept })
    }

    /// Makes them the streams of this process. Returns what the server keeps.
    ///
    /// # Errors
    /// dup2(2)'s.
    pub fn take_places(self) -> io::Result<Vec<(Keep, OwnedFd)>> {
        dup2_stdin(&self.input)?;
        dup2_stdout(&self.output)?;
        dup2_stderr(&self.error)?;
        Ok(self.kept)
    }
}

fn input(place: &Place, kept: &mut Vec<(Keep, OwnedFd)>) -> Result<OwnedFd, Failed> {
    let (Place::Path(path) | Place::File(path)) = place else { return null() };
    // Without a writer, open(2) would wait for one.
    let reader = open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    if is_fifo(&reader)? {
        kept.push((Keep::Input, open(path, OFlags::WRONLY)?));
        rustix::io::ioctl_fionbio(&reader, false).map_err(fail(path))?;
    }
    Ok(reader)
}

fn output(place: &Place, kept: &mut Vec<(Keep, OwnedFd)>) -> Result<OwnedFd, Failed> {
    match place {
        Place::Null => null(),
        Place::File(path) => {
            if let Some(dir) = path.parent() {
                std::fs::create_dir_all(dir).map_err(|e| fail(dir)(e))?;
            }
            open(path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)
        }
        Place::Path(path) => {
            let reader = open(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
            if !is_fifo(&reader)? {
                return open(path, OFlags::WRONLY | OFlags::APPEND);
            }
            // There is a reader, so this does not wait.
            let writer = open(path, OFlags::WRONLY)?;
            kept.push((Keep::Output, reader));
            Ok(writer)
        }
    }
}

fn selinux_enforces() -> bool {
    std::fs::read("/sys/fs/selinux/enforce").is_ok_and(|text| text.trim_ascii() == b"1")
}

fn null() -> Result<OwnedFd, Failed> {
    open(Path::new("/dev/null"), OFlags::RDWR)
}

/// containerd's directories are root's alone, so no other user has put a link there.
fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Failed> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)).map_err(fail(path))
}

fn is_fifo(file: &OwnedFd) -> Result<bool, Failed> {
    let found = rustix::fs::fstat(file).map_err(|e| Failed::other(format!("stat: {e}")))?;
    Ok(FileType::from_raw_mode(found.st_mode) == FileType::Fifo)
}

fn fail<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> Failed {
    move |error| Failed::other(format!("open the stream {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::fs::OpenOptionsExt;

    use sharedroot_task::Code;

    use super::*;

    #[test]
    fn a_stream_is_nothing_a_path_or_a_uri() {
        let code = |text| Place::parse(text).unwrap_err().code;
        assert_eq!(Place::parse("").unwrap(), Place::Null);
        assert_eq!(Place::parse("/a b").unwrap(), Place::Path("/a b".into()));
        assert_eq!(Place::parse("fifo:///a").unwrap(), Place::Path("/a".into()));
        assert_eq!(Place::parse("file:///a").unwrap(), Place::File("/a".into()));
        assert_eq!(code("binary:///usr/bin/logger?id=a"), Code::Unimplemented);
        assert_eq!(code("a"), Code::InvalidArgument);
        assert_eq!(code("file://a"), Code::InvalidArgument);
    }

    fn fifo(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("shim-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        path
    }

    /// The order of a start with a quick program and a slow client.
    #[test]
    fn a_client_reads_all_and_then_the_end_whenever_it_comes() {
        let path = fifo("out");
        let streams = Streams::open("", path.to_str().unwrap(), "").unwrap();
        let Streams { output, kept, .. } = streams;
        let [(Keep::Output, _)] = &kept[..] else { panic!("{kept:?}") };
        File::from(output).write_all(b"hello").unwrap();
        let mut client = File::options()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&path);
        // The process and the server close their ends.
        drop(kept);
        let mut text = String::new();
        client.as_mut().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_input_ends_when_the_server_and_the_client_close_it() {
        let path = fifo("in");
        let streams = Streams::open(path.to_str().unwrap(), "", "").unwrap();
        let Streams { input, kept, .. } = streams;
        let mut client = File::options().write(true).open(&path).unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        let mut input = File::from(input);
        let mut text = [0; 5];
        input.read_exact(&mut text).unwrap();
        rustix::io::ioctl_fionbio(&input, true).unwrap();
        let waits = input.read(&mut text).unwrap_err();
        assert_eq!(waits.kind(), io::ErrorKind::WouldBlock, "the server has the input open");
        drop(kept);
        assert_eq!(input.read(&mut text).unwrap(), 0);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_is_made_and_appended_to() {
        let path = std::env::temp_dir().join(format!("shim-file-{}", std::process::id()));
        let uri = format!("file://{}", path.display());
        for text in ["a", "b"] {
            let streams = Streams::open("", &uri, "").unwrap();
            assert!(streams.kept.is_empty());
            File::from(streams.output).write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "ab");
        std::fs::remove_file(path).unwrap();
    }
}
