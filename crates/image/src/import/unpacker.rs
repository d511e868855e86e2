//! The directory of one layer while it is filled: where entries go, and how much may be taken of the disk.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::beneath::{self, clean, joined, os};
use super::directory_times::DirectoryTimes;
use super::lower_layers::LowerLayers;
use super::metadata::{apply_metadata, directory_of_lower, implied_directory, mtime};
use super::room::{NAME_COST, Room};
use super::tar_stream::Entry;
use super::unpack_error::{UnpackError, failed, invalid};

/// How many directories may be nested. A program that removes the tree needs a descriptor for each level, so ordinary programs
/// could not remove deeper trees.
const DEEPEST: usize = 500;

/// The directory of a layer while it is filled.
pub(super) struct Unpacker<'a> {
    pub(super) root: OwnedFd,
    pub(super) path: &'a Path,
    /// The layers below this one.
    pub(super) lower: &'a mut LowerLayers,
    pub(super) times: DirectoryTimes,
    /// The directory of the last entry, kept open: most tars have the entries of a directory one after another.
    last_parent: Option<(PathBuf, OwnedFd)>,
    /// What passes from the tar to a file at a time.
    pub(super) buffer: Vec<u8>,
    room: Room,
}

/// Where an entry belongs: an open directory of the layer and a name in the directory.
pub(super) struct Location<'n> {
    pub(super) dir: OwnedFd,
    pub(super) name: &'n OsStr,
}

impl<'a> Unpacker<'a> {
    /// Begins with the empty directory `root`, which is at `path`.
    pub(super) fn new(
        root: OwnedFd,
        path: &'a Path,
        lower: &'a mut LowerLayers,
        times: DirectoryTimes,
    ) -> Self {
        let buffer = vec![0; 256 << 10];
        Self { root, path, lower, times, last_parent: None, buffer, room: Room::default() }
    }
}

impl Unpacker<'_> {
    /// Opens the directory of an entry. Makes it where no entry of the tar has made it.
    pub(super) fn parent(
        &mut self,
        entry: &Entry,
        names: &[&[u8]],
    ) -> Result<OwnedFd, UnpackError> {
        let path = joined(names);
        let copy = |dir: &OwnedFd| dir.try_clone().map_err(failed(entry, "open its directory"));
        if let Some((last, dir)) = &self.last_parent
            && *last == path
        {
            return copy(dir);
        }
        let dir = match self.open_directory(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.make_parents(entry, names)?,
            // A whiteout or a file of this very layer is in the way.
            opened => opened.map_err(failed(entry, "open its directory"))?,
        };
        let kept = copy(&dir)?;
        self.last_parent = Some((path, kept));
        Ok(dir)
    }

    /// Opens a directory of the layer. Symbolic links on the way lead where they lead in a chroot of the layer.
    ///
    /// Real layers name real directories, and a path through links can take the kernel a thousand times as long. So only such a
    /// path takes looks.
    ///
    /// # Errors
    /// The kernel's error; or the image takes too many looks.
    pub(super) fn open_directory(&mut self, path: &Path) -> io::Result<OwnedFd> {
        match beneath::directory_without_links(self.root.as_fd(), path) {
            Err(Errno::LOOP) => {
                self.lower.looks.take_links()?;
                Ok(beneath::directory(self.root.as_fd(), path)?)
            }
            opened => Ok(opened?),
        }
    }

    /// Makes the directories that no entry of the tar has made: with the metadata of the lower layers, or else owned by root
    /// with mode 0755.
    fn make_parents(&mut self, entry: &Entry, names: &[&[u8]]) -> Result<OwnedFd, UnpackError> {
        let (there, mut dir) = self.existing_parents(entry, names)?;
        // The way may be a link of this layer. The lower layers have the directory at the place to which the link leads.
        let place = self.place(entry, dir.as_fd())?;
        let mut way = clean(place.as_os_str().as_bytes());
        for name in &names[there..] {
            self.lower.allowance.add(entry)?;
            self.check_depth(entry, dir.as_fd())?;
            self.check_space(entry, NAME_COST)?;
            let mode = Mode::from_raw_mode(0o755);
            rustix::fs::mkdirat(&dir, os(name), mode)
                .map_err(failed(entry, "make a directory above it"))?;
            way.push(name);
            let below =
                self.lower.find(&way).map_err(failed(entry, "look for it in the lower layers"))?;
            let made = Location { dir, name: os(name) };
            let described = match below {
                Some((parent, stat)) if beneath::is_dir(&stat) => {
                    directory_of_lower(&parent, os(name), &stat, &way)
                        .map_err(failed(entry, "read the metadata of a directory above it"))?
                }
                _ => implied_directory(&way),
            };
            self.lower.allowance.add_parts(&described)?;
            apply_metadata(&described, &made.dir, made.name)?;
            dir = beneath::exactly(made.dir.as_fd(), Path::new(made.name), OFlags::PATH)
                .map_err(failed(entry, "open a directory above it"))?;
            self.note_mtime(&described, dir.as_fd())?;
        }
        Ok(dir)
    }

    /// How many of the directories are there, from the root on, and the last of them.
    fn existing_parents(
        &mut self,
        entry: &Entry,
        names: &[&[u8]],
    ) -> Result<(usize, OwnedFd), UnpackError> {
        let mut dir = self.root.try_clone().map_err(failed(entry, "open the root"))?;
        for (n, name) in names.iter().enumerate() {
            self.lower.looks.take(1).map_err(failed(entry, "look for a directory above it"))?;
            let opened = match beneath::exactly(
                dir.as_fd(),
                Path::new(os(name)),
                OFlags::PATH | OFlags::DIRECTORY,
            ) {
                // A symbolic link leads on from the root of the layer.
                Err(Errno::LOOP | Errno::NOTDIR) => self.open_directory(&joined(&names[..=n])),
                opened => opened.map_err(io::Error::from),
            };
            match opened {
                Ok(there) => dir = there,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok((n, dir)),
                Err(error) => return Err(failed(entry, "open a directory above it")(error)),
            }
        }
        Ok((names.len(), dir))
    }

    /// Makes a name by `act`. What this layer had under the name is removed first: the last entry of a name wins.
    pub(super) fn create<T>(
        &mut self,
        entry: &Entry,
        place: &Location<'_>,
        step: &'static str,
        act: impl Fn(&Location<'_>) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let made = match act(place) {
            Err(Errno::EXIST) => {
                self.remove_existing(entry, place)?;
                act(place)
            }
            made => made,
        };
        made.map_err(failed(entry, step))
    }

    /// Removes what this layer has under a name.
    pub(super) fn remove_existing(
        &mut self,
        entry: &Entry,
        place: &Location<'_>,
    ) -> Result<(), UnpackError> {
        // The removed directory may be the one that `last_parent` holds.
        self.last_parent = None;
        match rustix::fs::unlinkat(&place.dir, place.name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                std::fs::remove_dir_all(beneath::by_descriptor(place.dir.as_fd(), place.name))
                    .map_err(failed(entry, "remove the directory that had its name"))
            }
            removed => removed.map_err(failed(entry, "remove the file that had its name")),
        }
    }

    /// The path of an open directory of the layer, without any symbolic link.
    pub(super) fn place(&self, entry: &Entry, dir: BorrowedFd<'_>) -> Result<PathBuf, UnpackError> {
        beneath::place(self.path, dir).map_err(failed(entry, "find its path"))
    }

    /// Notes the time of a directory, which is set when the layer is complete: each new name in a directory changes the time.
    pub(super) fn note_mtime(
        &mut self,
        entry: &Entry,
        dir: BorrowedFd<'_>,
    ) -> Result<(), UnpackError> {
        let path = self.place(entry, dir)?;
        self.times.add(&path, mtime(entry)).map_err(failed(entry, "write its time down"))
    }

    /// Fails if the directory is deeper than [`DEEPEST`].
    pub(super) fn check_depth(
        &self,
        entry: &Entry,
        dir: BorrowedFd<'_>,
    ) -> Result<(), UnpackError> {
        let path = self.place(entry, dir)?;
        if path.components().count() > DEEPEST {
            return Err(invalid(entry, format!("is nested deeper than {DEEPEST} directories")));
        }
        Ok(())
    }

    /// Fails if the disk, where containers of the same pool may write, would have less than its reserve. `bytes` is at least what
    /// the next step takes.
    pub(super) fn check_space(&mut self, entry: &Entry, bytes: u64) -> Result<(), UnpackError> {
        let room = self.room.take(self.root.as_fd(), bytes);
        let lacking = room.map_err(failed(entry, "ask for the free space of the file system"))?;
        lacking.map_or(Ok(()), |lacking| {
            Err(UnpackError::Room { path: self.path.to_owned(), lacking })
        })
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
