//! How much of a base's files is in memory: cachestat(2) for every file, called by util-linux's fincore(1).
//!
//! File names of an image may contain any bytes. They are never parsed from fincore's output. They are only passed to
//! fincore, as paths that begin with `./`, below the base's own directory. A base is read-only for ever, so a path
//! without symbolic links at the first walk never gets one.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use sharedroot_format::BaseKey;
use sharedroot_image::walk::{Found, WalkError, walk};
use sharedroot_sys::by_descriptor::by_descriptor;
use sharedroot_sys::mount;

/// util-linux's directories; the caller's PATH is not used.
const PLACES: [&str; 2] = ["/usr/bin", "/bin"];

/// The most bytes of paths for one fincore, with the pointers to them: half of what Linux always accepts (execve(2)).
const MOST_AT_ONCE: usize = 64 << 10;

/// The most bytes of paths that are kept for the next time, of all bases together. An image decides how many files it has.
const MOST_KEPT: usize = 64 << 20;

/// Why the pages of a base are unknown.
#[derive(Debug, thiserror::Error)]
pub enum Uncounted {
    /// The pages were not counted, because no container uses the base.
    #[error("no container uses the base")]
    NoContainer,
    /// No container has shared the base since it was unmounted, or the last container ended meanwhile.
    #[error("the base is not mounted")]
    NotMounted,
    /// The base's directory cannot be opened.
    #[error("open {path}")]
    Open {
        /// The mount point.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The base's files cannot be listed.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The base has more files than are kept for the next time.
    #[error("the paths of its files take more than {mib} MiB")]
    TooManyPaths {
        /// How many MiB they may take.
        mib: usize,
    },
    /// The program is not installed.
    #[error("fincore is in none of {}: install util-linux (Debian: util-linux-extra)", PLACES.join(", "))]
    NoTool,
    /// The program cannot be started.
    #[error("start {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The program failed.
    #[error(
        "{program} failed ({status}): {said}; `sharedroot top` needs util-linux 2.40 and Linux 6.5"
    )]
    Tool {
        /// The program.
        program: PathBuf,
        /// The exit status.
        status: String,
        /// The first line of its standard error, without characters that control a terminal.
        said: String,
    },
    /// The program's output is not one number for each file.
    #[error("{program} said {found} figures of {files} files")]
    Figures {
        /// The program.
        program: PathBuf,
        /// The number of figures in the output.
        found: usize,
        /// The number of files that it was called with.
        files: usize,
    },
}

/// Counts the bytes in memory, and keeps the lists of files for the next time.
#[derive(Debug, Default)]
pub struct Resident {
    files: HashMap<BaseKey, Vec<OsString>>,
}

impl Resident {
    /// Bytes of the files of the base at `at` that are in memory.
    ///
    /// The function takes no lock of the base: a command that removes the base meanwhile gets the error that the base
    /// is in use.
    ///
    /// # Errors
    /// [`Uncounted`].
    pub fn bytes(&mut self, key: &BaseKey, at: &Path) -> Result<u64, Uncounted> {
        let top = open(at)?;
        if !self.files.contains_key(key) {
            let files = regular_files(&top, MOST_KEPT)?;
            if kept(self.files.values().flatten()) + kept(&files) > MOST_KEPT {
                self.files.clear();
            }
            self.files.insert(key.clone(), files);
        }
        let files = self.files.get(key).map(Vec::as_slice).unwrap_or_default();
        let counted = count(&top, files);
        if counted.is_err() {
            // Meanwhile another base of this key may have been made.
            self.files.remove(key);
        }
        counted
    }
}

/// The top directory of a mounted base. After an unmount the path is an empty directory.
fn open(at: &Path) -> Result<OwnedFd, Uncounted> {
    let fail = |errno: rustix::io::Errno| Uncounted::Open { path: at.into(), source: errno.into() };
    let mounted = mount::device_mounted_at(at).ok_or(Uncounted::NotMounted)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(at, flags, Mode::empty()).map_err(fail)?;
    let device = rustix::fs::fstat(&top).map_err(fail)?.st_dev;
    let opened = (rustix::fs::major(device), rustix::fs::minor(device));
    if opened == mounted { Ok(top) } else { Err(Uncounted::NotMounted) }
}

/// The regular files that are not empty, one path for each inode; an error if they take more than `most` bytes.
fn regular_files(top: &OwnedFd, most: usize) -> Result<Vec<OsString>, Uncounted> {
    let (mut files, mut taken) = (Vec::new(), 0);
    walk(top.as_fd(), |found: Found| {
        if found.kind().is_file() && found.same_as.is_none() && found.stat.st_size > 0 {
            let file = [Path::new(".").join(found.path).into_os_string()];
            taken += kept(&file);
            if taken > most {
                return Err(Uncounted::TooManyPaths { mib: most >> 20 });
            }
            files.extend(file);
        }
        Ok(())
    })?;
    Ok(files)
}

/// What the paths take in memory, in bytes.
fn kept<'f>(files: impl IntoIterator<Item = &'f OsString>) -> usize {
    files.into_iter().map(|file| file.len() + size_of::<OsString>()).sum()
}

fn count(top: &OwnedFd, files: &[OsString]) -> Result<u64, Uncounted> {
    let places = PLACES.iter().map(|place| Path::new(place).join("fincore"));
    let program = places.into_iter().find(|path| path.is_file()).ok_or(Uncounted::NoTool)?;
    shares(files, MOST_AT_ONCE).map(|share| ask(&program, top, share)).sum()
}

/// The files in groups, each with at most so many bytes of paths, or with one file.
fn shares(files: &[OsString], most: usize) -> impl Iterator<Item = &[OsString]> {
    let mut left = files;
    std::iter::from_fn(move || {
        let mut room = most;
        let fits = left.iter().take_while(|path| {
            let takes = path.len() + 1 + size_of::<usize>();
            let fits = takes <= room;
            room = room.saturating_sub(takes);
            fits
        });
        let (share, rest) = left.split_at(fits.count().max(1).min(left.len()));
        left = rest;
        (!share.is_empty()).then_some(share)
    })
}

/// Runs fincore for these files below `top`. The column EVICTED_PAGES forces cachestat(2): mincore(2), which older
/// versions use, cannot count evicted pages.
fn ask(program: &Path, top: &OwnedFd, files: &[OsString]) -> Result<u64, Uncounted> {
    let output = Command::new(program)
        .args(["--bytes", "--noheadings", "--output", "RES,EVICTED_PAGES", "--"])
        .args(files)
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir(by_descriptor(top))
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Uncounted::Start { program: program.to_owned(), source })?;
    if !output.status.success() {
        let said = output.stderr.split(|byte| *byte == b'\n').next().unwrap_or_default();
        return Err(Uncounted::Tool {
            program: program.to_owned(),
            status: output.status.to_string(),
            said: printable(said),
        });
    }
    figures(&output.stdout, files.len()).map_err(|(found, files)| Uncounted::Figures {
        program: program.to_owned(),
        found,
        files,
    })
}

/// The sum of the first column, which must have one figure for each file.
fn figures(text: &[u8], files: usize) -> Result<u64, (usize, usize)> {
    let lines = String::from_utf8_lossy(text);
    let figure = |line: &str| line.split_whitespace().next()?.parse::<u64>().ok();
    let found: Vec<_> = lines.lines().map_while(figure).collect();
    if found.len() == files { Ok(found.iter().sum()) } else { Err((found.len(), files)) }
}

fn printable(text: &[u8]) -> String {
    const LONGEST: usize = 200;
    let text = OsStr::from_bytes(text).to_string_lossy();
    text.chars().take(LONGEST).collect::<String>().escape_default().to_string()
}

#[cfg(test)]
#[path = "resident_tests.rs"]
mod tests;
