//! The files of a source by their names: those of a directory, or of a tar, which is searched once.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;
use sharedroot_format::Digest;

use super::beneath::{self, clean, joined};
use super::error::ImportError;
use super::tar_stream::{Archive, EntryKind, TarError};

/// The most files of a tar whose names are kept in memory. An image of 127 layers has some hundreds.
const MOST_FILES: usize = 20_000;
/// How many bytes these names, and the names that links lead to, may have together. A name may have a megabyte.
const MOST_NAME_BYTES: usize = 4 << 20;
/// The largest text (a manifest, a configuration) that is read, in bytes: the bound of registries.
const LARGEST_TEXT: u64 = 4 << 20;

/// The source of an image: a directory or a tar.
#[derive(Debug)]
pub(super) enum Files {
    Directory {
        path: PathBuf,
        root: File,
    },
    Tar {
        path: PathBuf,
        file: Arc<File>,
        index: HashMap<PathBuf, Stored>,
        /// The names of which the tar has several files.
        twice: HashSet<PathBuf>,
    },
}

/// What a tar has under a name: a file at a place in the tar, or a link to another name.
#[derive(Debug, Clone)]
pub(super) enum Stored {
    At { offset: u64, size: u64 },
    Link(PathBuf),
}

/// One file of a source, read from its beginning to its end.
#[derive(Debug)]
pub(super) struct Blob {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Blob {
    /// How many bytes are still to be read.
    pub(super) fn size(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.size()).unwrap_or(usize::MAX).min(buffer.len());
        let n = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Files {
    /// Opens a directory, or opens a tar and searches it for its files.
    pub(super) fn open(path: &Path) -> Result<Self, ImportError> {
        let failed = |source| ImportError::Open { path: path.to_owned(), source };
        // With O_NONBLOCK the open does not wait for a writer of a FIFO. A FIFO is no source.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty())
            .map_err(|errno| failed(errno.into()))?;
        let file = File::from(file);
        let found = file.metadata().map_err(failed)?;
        let not = |found| ImportError::NoSource { path: path.to_owned(), found };
        if found.is_dir() {
            return Ok(Self::Directory { path: path.to_owned(), root: file });
        }
        let kind = found.file_type();
        if !kind.is_file() {
            let is = if kind.is_fifo() { "a pipe, which cannot be searched" } else { "no file" };
            return Err(not(is));
        }
        let mut first = [0; 4];
        let n = file.read_at(&mut first, 0).map_err(failed)?;
        match &first[..n] {
            [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd] | [0xfd, b'7', b'z', b'X'] | b"BZh9" => {
                Err(not("compressed as a whole; decompress it first (gunzip, unzstd)"))
            }
            _ => Self::search(path, file, found.len()),
        }
    }

    fn search(path: &Path, file: File, length: u64) -> Result<Self, ImportError> {
        let file = Arc::new(file);
        let (mut index, mut twice) = (HashMap::new(), HashSet::new());
        let (mut at, mut bytes) = (0, 0);
        loop {
            let rest = Blob { file: Arc::clone(&file), at, end: length };
            let mut archive = Archive::starting_at(BufReader::with_capacity(2048, rest), at);
            let wrong = |source| ImportError::Source { path: path.to_owned(), source };
            let Some(entry) = archive.next().map_err(wrong)? else { break };
            let names = clean(&entry.path);
            let offset = archive.position();
            let stored = match &entry.kind {
                EntryKind::File if entry.extents.is_none() => {
                    Some(Stored::At { offset, size: entry.size })
                }
                EntryKind::Symlink(target) => {
                    let above = &names[..names.len().saturating_sub(1)];
                    let target = [&above.join(&b'/'), target.as_slice()].join(&b'/');
                    Some(Stored::Link(joined(&clean(&target))))
                }
                EntryKind::HardLink(target) => Some(Stored::Link(joined(&clean(target)))),
                _ => None,
            };
            if let Some(stored) = stored {
                let name = joined(&names);
                let linked = if let Stored::Link(to) = &stored { to.as_os_str().len() } else { 0 };
                bytes += name.as_os_str().len() + linked;
                if let Some(name) = index.insert(name.clone(), stored).map(|_| name) {
                    twice.insert(name);
                }
            }
            if index.len() > MOST_FILES || bytes > MOST_NAME_BYTES {
                let found = "a tar of more files, or of longer names, than any image's archive has";
                return Err(ImportError::NoSource { path: path.to_owned(), found });
            }
            let end = archive.end_of_entry();
            if end > length {
                let source = io::ErrorKind::UnexpectedEof.into();
                return Err(wrong(TarError::Read { at: length, source }));
            }
            at = end.next_multiple_of(512);
            if at >= length {
                break; // perhaps in the last block, of which a part may be missing
            }
        }
        Ok(Self::Tar { path: path.to_owned(), file, index, twice })
    }

    pub(super) fn path(&self) -> &Path {
        let (Self::Directory { path, .. } | Self::Tar { path, .. }) = self;
        path
    }

    /// The file with this name; none if there is no such file.
    pub(super) fn find(&self, name: &str) -> Result<Option<Blob>, ImportError> {
        let names = clean(name.as_bytes());
        let name = joined(&names);
        match self {
            Self::Directory { path, root } => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                let failed = |source| ImportError::Open { path: path.join(&name), source };
                let file = match beneath::exactly(root.as_fd(), &name, flags) {
                    Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                    opened => File::from(opened.map_err(|errno| failed(errno.into()))?),
                };
                let found = file.metadata().map_err(failed)?;
                if !found.is_file() {
                    return Ok(None);
                }
                Ok(Some(Blob { file: Arc::new(file), at: 0, end: found.len() }))
            }
            Self::Tar { file, index, .. } => {
                let found = match index.get(&name) {
                    // Older versions of `docker save` store equal layers once, and links to it.
                    Some(Stored::Link(target)) => index.get(target),
                    found => found,
                };
                Ok(match found {
                    Some(Stored::At { offset, size }) => Some(Blob {
                        file: Arc::clone(file),
                        at: *offset,
                        end: offset.saturating_add(*size),
                    }),
                    _ => None,
                })
            }
        }
    }

    /// The file with this name.
    ///
    /// # Errors
    /// [`ImportError::Missing`].
    pub(super) fn get(&self, name: &str) -> Result<Blob, ImportError> {
        let missing = || ImportError::Missing { path: self.path().to_owned(), name: name.into() };
        self.find(name)?.ok_or_else(missing)
    }

    /// The whole content of a small file, of which a tar must have one only: of several, programs read the first or the last, and
    /// some take `/name` for another name than `name`.
    pub(super) fn only_text(&self, name: &str) -> Result<Vec<u8>, ImportError> {
        if let Self::Tar { path, twice, .. } = self
            && twice.contains(&joined(&clean(name.as_bytes())))
        {
            let what = format!("the archive has more than one file {name}");
            return Err(ImportError::Image { path: path.clone(), what });
        }
        self.text(name)
    }

    /// The whole content of a small file, whose digest is checked then.
    pub(super) fn text(&self, name: &str) -> Result<Vec<u8>, ImportError> {
        let blob = self.get(name)?;
        let failed = |source| ImportError::Open { path: self.path().join(name), source };
        if blob.size() > LARGEST_TEXT {
            return Err(failed(io::Error::other(
                "the file is larger than 4 MiB, and no manifest is",
            )));
        }
        let (size, mut text) = (blob.size(), Vec::new());
        blob.take(LARGEST_TEXT).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 != size {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(text)
    }
}

/// Checks the text of a file against the digest that its name or its descriptor says.
pub(super) fn check(
    files: &Files,
    name: &str,
    text: &[u8],
    expected: Digest,
) -> Result<(), ImportError> {
    let found = Digest::of(text);
    if found == expected {
        return Ok(());
    }
    let path = files.path().to_owned();
    Err(ImportError::Digest { path, name: name.to_owned(), expected, found })
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
