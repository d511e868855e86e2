//! One layer's tar as a directory in overlay's form: a whiteout is a character device 0:0, and a directory that hides what is
//! below it has an attribute. So the layers stack as an engine's do, and make the same base.
//!
//! The tar is a stranger's. Every name is looked up beneath the layer's root by the kernel, as in a chroot, and the last
//! component is never followed. What image-spec leaves open is decided as Docker's overlay2 driver decides it: a link of a layer
//! below is not followed, a directory that no header describes is the one of the layers below.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::archive::{Archive, Entry, Kind};
use super::beneath::{self, Below, clean, joined, os};
use super::directory_times::DirectoryTimes;
use super::metadata::{
    apply_metadata, attributes, directory_of_lower, implied_directory, owner, timestamps,
};
use super::unpack_error::{UnpackError, failed};

/// Bytes that stay free on the disk, which may also hold the pool.
pub const RESERVE: u64 = 256 << 20;
/// After so many bytes the free room is looked at again.
const LOOK_AFTER: u64 = 4 << 20;
/// What a name can take of the disk besides content: a block of a directory, an inode, a block of attributes or of a link's
/// target, a line of the file of times.
const NAME: u64 = 16 << 10;
/// Deeper directories are refused: nobody could remove them by ordinary means, for every level takes a descriptor.
const DEEPEST: usize = 500;
const BLOCK: usize = 4096;
const WHITEOUT: &[u8] = b".wh.";

/// A layer's directory while it is filled.
pub(super) struct Unpacker<'a> {
    pub(super) root: OwnedFd,
    pub(super) path: &'a Path,
    pub(super) below: &'a mut Below,
    pub(super) times: DirectoryTimes,
    /// The directory of the last entry: most tars go through one directory after another.
    last: Option<(PathBuf, OwnedFd)>,
    buffer: Vec<u8>,
    until_look: u64,
}

/// An entry's place: an open directory of the layer and a name in it.
pub(super) struct Location<'n> {
    pub(super) dir: OwnedFd,
    pub(super) name: &'n OsStr,
}

/// Fills the empty directory `path` with a layer. `below` has the layers below it, topmost first.
pub(super) fn unpack<R: Read>(
    archive: &mut Archive<R>,
    path: &Path,
    below: &mut Below,
) -> Result<OwnedFd, UnpackError> {
    let failed =
        |step| move |source: io::Error| UnpackError::Entry { path: "/".into(), step, source };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| failed("open the layer's directory")(errno.into()))?;
    let times =
        DirectoryTimes::in_directory(root.as_fd()).map_err(failed("make a file for times"))?;
    let buffer = vec![0; 256 << 10];
    let mut unpacker = Unpacker { root, path, below, times, last: None, buffer, until_look: 0 };
    while let Some(entry) = archive.next()? {
        unpacker.entry(archive, &entry)?;
    }
    let Unpacker { root, times, .. } = unpacker;
    times.set_all(root.as_fd()).map_err(failed("set the times of directories"))?;
    Ok(root)
}

fn invalid(entry: &Entry, what: impl Into<String>) -> UnpackError {
    UnpackError::Invalid { path: os(&entry.path).into(), what: what.into() }
}

impl Unpacker<'_> {
    /// A directory's time changes with every name in it, so it is set again in the end.
    pub(super) fn remember(
        &mut self,
        entry: &Entry,
        dir: BorrowedFd<'_>,
    ) -> Result<(), UnpackError> {
        let place = beneath::place(self.path, dir).map_err(failed(entry, "find its place"))?;
        self.times.add(&place, entry.mtime).map_err(failed(entry, "write its time down"))
    }

    fn entry<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        // A file system that has room for large attributes gives each whole blocks.
        let attributes =
            entry.xattrs.iter().map(|(_, value)| (value.len() as u64).next_multiple_of(4096));
        self.room(entry, NAME + attributes.sum::<u64>())?;
        let names = clean(&entry.path);
        let Some((&name, above)) = names.split_last() else {
            // The root: its owner, mode and times are the base's own, whatever a layer says.
            return match entry.kind {
                Kind::Directory => Ok(()),
                _ => Err(invalid(entry, "is the root, and no directory")),
            };
        };
        if name == b".wh..wh..opq" {
            return self.mark_opaque(entry, above);
        }
        if name.starts_with(b".wh..wh.") {
            return Ok(()); // aufs's own files, which no other file system has
        }
        if let Some(gone) = name.strip_prefix(WHITEOUT) {
            return match gone {
                b"" | b"." | b".." => Err(invalid(entry, "is a whiteout of no name")),
                gone => self.whiteout(entry, above, gone),
            };
        }
        if entry.kind == Kind::Character(0, 0) {
            return self.whiteout(entry, above, name); // what it is in every engine's layer
        }
        let dir = self.parent(entry, above)?;
        let place = Location { dir, name: os(name) };
        match &entry.kind {
            Kind::Directory => return self.directory(entry, &place),
            Kind::HardLink(target) => return self.hard_link(entry, &place, target),
            Kind::File => return self.file(archive, entry, &place),
            Kind::Symlink(target) => {
                self.make(entry, &place, "make the link", |place| {
                    rustix::fs::symlinkat(os(target), &place.dir, place.name)
                })?;
            }
            Kind::Fifo => self.node(entry, &place, FileType::Fifo, 0)?,
            Kind::Character(major, minor) => {
                let device = rustix::fs::makedev(*major, *minor);
                self.node(entry, &place, FileType::CharacterDevice, device)?;
            }
            Kind::Block(major, minor) => {
                let device = rustix::fs::makedev(*major, *minor);
                self.node(entry, &place, FileType::BlockDevice, device)?;
            }
        }
        apply_metadata(entry, &place.dir, place.name)
    }

    /// The directory of an entry, made where the tar has not described it.
    pub(super) fn parent(
        &mut self,
        entry: &Entry,
        names: &[&[u8]],
    ) -> Result<OwnedFd, UnpackError> {
        let path = joined(names);
        let copy = |dir: &OwnedFd| dir.try_clone().map_err(failed(entry, "open its directory"));
        if let Some((last, dir)) = &self.last
            && *last == path
        {
            return copy(dir);
        }
        let dir = match beneath::directory(self.root.as_fd(), &path) {
            Err(Errno::NOENT) => self.make_parents(entry, names)?,
            // A whiteout or a file of this very layer is in the way.
            opened => opened.map_err(failed(entry, "open its directory"))?,
        };
        let kept = copy(&dir)?;
        self.last = Some((path, kept));
        Ok(dir)
    }

    /// Makes the directories that a tar did not: each as the layers below have it, or else root's and plain.
    fn make_parents(&mut self, entry: &Entry, names: &[&[u8]]) -> Result<OwnedFd, UnpackError> {
        let mut dir = self.root.try_clone().map_err(failed(entry, "open the root"))?;
        for (n, name) in names.iter().enumerate() {
            let path = joined(&names[..=n]);
            match beneath::directory(self.root.as_fd(), &path) {
                Ok(there) => {
                    dir = there;
                    continue;
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(entry, "open a directory above it")(errno)),
            }
            self.deep(entry, dir.as_fd())?;
            self.room(entry, NAME)?;
            let mode = Mode::from_raw_mode(0o755);
            rustix::fs::mkdirat(&dir, os(name), mode)
                .map_err(failed(entry, "make a directory above it"))?;
            let below = self.below.find(&names[..=n]).map_err(failed(entry, "look below it"))?;
            let made = Location { dir, name: os(name) };
            let described = match below {
                Some((parent, stat)) if beneath::is_dir(&stat) => {
                    directory_of_lower(&parent, os(name), &stat, &names[..=n])
                        .map_err(failed(entry, "copy a directory above it"))?
                }
                _ => implied_directory(&names[..=n]),
            };
            apply_metadata(&described, &made.dir, made.name)?;
            dir = beneath::exactly(made.dir.as_fd(), Path::new(made.name), OFlags::PATH)
                .map_err(failed(entry, "open a directory above it"))?;
            self.remember(&described, dir.as_fd())?;
        }
        Ok(dir)
    }

    fn directory(&mut self, entry: &Entry, place: &Location<'_>) -> Result<(), UnpackError> {
        self.deep(entry, place.dir.as_fd())?;
        let mode = Mode::from_raw_mode(0o700);
        let mut hides = false;
        match rustix::fs::mkdirat(&place.dir, place.name, mode) {
            Err(Errno::EXIST) => {
                let there = beneath::look(&place.dir, place.name)
                    .map_err(failed(entry, "look at what is there"))?;
                let there = there.filter(|stat| !beneath::is_dir(stat));
                if let Some(there) = there {
                    hides = beneath::is_whiteout(&there);
                    self.remove(entry, place)?;
                    rustix::fs::mkdirat(&place.dir, place.name, mode)
                        .map_err(failed(entry, "make the directory"))?;
                }
            }
            made => made.map_err(failed(entry, "make the directory"))?,
        }
        let dir = beneath::exactly(place.dir.as_fd(), Path::new(place.name), OFlags::PATH)
            .map_err(failed(entry, "open the directory"))?;
        if hides {
            self.make_opaque(entry, dir.as_fd())?;
        }
        apply_metadata(entry, &place.dir, place.name)?;
        self.remember(entry, dir.as_fd())
    }

    fn file<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        entry: &Entry,
        place: &Location<'_>,
    ) -> Result<(), UnpackError> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
        let file = self.make(entry, place, "make the file", |place| {
            let mode = Mode::from_raw_mode(0o600);
            rustix::fs::openat(&place.dir, place.name, flags | OFlags::CLOEXEC, mode)
        })?;
        let file = File::from(file);
        let whole = [(0, entry.size)];
        let pieces = entry.pieces.as_deref().unwrap_or(&whole);
        for &(offset, length) in pieces {
            self.fill(archive, entry, &file, offset, length)?;
        }
        // What ends in a hole is not long enough yet.
        file.set_len(entry.size).map_err(failed(entry, "set its length"))?;
        let (uid, gid) = owner(entry);
        rustix::fs::fchown(&file, uid, gid).map_err(failed(entry, "own it"))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))
            .map_err(failed(entry, "set its mode"))?;
        for (name, value) in attributes(entry) {
            rustix::fs::fsetxattr(&file, os(name), value, XattrFlags::empty())
                .map_err(failed(entry, "set an extended attribute"))?;
        }
        rustix::fs::futimens(&file, &timestamps(entry.mtime)).map_err(failed(entry, "set its time"))
    }

    /// Writes a piece of a file. Blocks of zeros become holes, for a tar made without `--sparse` has lost them.
    fn fill<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        entry: &Entry,
        file: &File,
        mut offset: u64,
        length: u64,
    ) -> Result<(), UnpackError> {
        const ZEROS: [u8; BLOCK] = [0; BLOCK];
        let end = offset.saturating_add(length);
        while offset < end {
            let most = usize::try_from(end - offset).unwrap_or(usize::MAX).min(self.buffer.len());
            let n = archive.read(&mut self.buffer[..most])?;
            if n == 0 {
                return Err(invalid(entry, "has less content than it says"));
            }
            // A piece of a sparse file need not begin or end where a block does.
            self.room(entry, (n as u64).saturating_add(2 * BLOCK as u64))?;
            let mut begin = 0;
            let mut done = 0;
            for block in self.buffer[..n].chunks(BLOCK) {
                if block == &ZEROS[..block.len()] {
                    write(file, &self.buffer[begin..done], offset + begin as u64)
                        .map_err(failed(entry, "write it"))?;
                    begin = done + block.len();
                }
                done += block.len();
            }
            write(file, &self.buffer[begin..n], offset + begin as u64)
                .map_err(failed(entry, "write it"))?;
            offset += n as u64;
        }
        Ok(())
    }

    /// Leaves room on the disk: containers of the same pool write there, too. `bytes` is at least what is taken next.
    fn room(&mut self, entry: &Entry, bytes: u64) -> Result<(), UnpackError> {
        match self.until_look.checked_sub(bytes) {
            Some(left) => self.until_look = left,
            None => {
                self.until_look = LOOK_AFTER;
                let free = beneath::free(self.root.as_fd())
                    .map_err(failed(entry, "see how much room is left"))?;
                if free < RESERVE + LOOK_AFTER {
                    return Err(UnpackError::Room { path: self.path.to_owned(), free: free >> 20 });
                }
            }
        }
        Ok(())
    }

    fn hard_link(
        &mut self,
        entry: &Entry,
        place: &Location<'_>,
        target: &[u8],
    ) -> Result<(), UnpackError> {
        let names = clean(target);
        let missing = || {
            let target = PathBuf::from(os(target));
            invalid(entry, format!("is a hard link to {target:?}, which no layer up to here has"))
        };
        let Some((&last, above)) = names.split_last() else { return Err(missing()) };
        let here = match beneath::directory(self.root.as_fd(), &joined(above)) {
            Ok(dir) => beneath::look(&dir, os(last))
                .map_err(failed(entry, "look at its target"))?
                .map(|stat| (dir, stat)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
            Err(errno) => return Err(failed(entry, "look for its target")(errno)),
        };
        let found = match here {
            Some((_, stat)) if beneath::is_whiteout(&stat) => None,
            Some(found) => Some(found),
            None if self.hides_lower(above).map_err(failed(entry, "look for its target"))? => None,
            None => self.below.find(&names).map_err(failed(entry, "look for its target"))?,
        };
        let (dir, stat) = found.ok_or_else(missing)?;
        if beneath::is_dir(&stat) {
            return Err(invalid(entry, "is a hard link to a directory"));
        }
        let there = beneath::look(&place.dir, place.name)
            .map_err(failed(entry, "look at what is there"))?;
        match there {
            Some(there) if (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino) => Ok(()),
            there => {
                if there.is_some() {
                    self.remove(entry, place)?;
                }
                rustix::fs::linkat(&dir, os(last), &place.dir, place.name, AtFlags::empty())
                    .map_err(failed(entry, "make the hard link"))
            }
        }
    }

    fn node(
        &mut self,
        entry: &Entry,
        place: &Location<'_>,
        kind: FileType,
        device: u64,
    ) -> Result<(), UnpackError> {
        let mode = Mode::from_raw_mode(0o600);
        self.make(entry, place, "make the node", |place| {
            rustix::fs::mknodat(&place.dir, place.name, kind, mode, device)
        })
    }

    /// Does what makes a name, in the place of what this layer had under it.
    fn make<T>(
        &mut self,
        entry: &Entry,
        place: &Location<'_>,
        step: &'static str,
        act: impl Fn(&Location<'_>) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let made = match act(place) {
            Err(Errno::EXIST) => {
                self.remove(entry, place)?;
                act(place)
            }
            made => made,
        };
        made.map_err(failed(entry, step))
    }

    /// Takes away what this layer has under a name: the last entry of a name wins.
    fn remove(&mut self, entry: &Entry, place: &Location<'_>) -> Result<(), UnpackError> {
        // The directory of the next entry may be another one now.
        self.last = None;
        match rustix::fs::unlinkat(&place.dir, place.name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                std::fs::remove_dir_all(beneath::by_descriptor(place.dir.as_fd(), place.name))
                    .map_err(failed(entry, "remove the directory that had its name"))
            }
            removed => removed.map_err(failed(entry, "remove what had its name")),
        }
    }

    fn deep(&self, entry: &Entry, dir: BorrowedFd<'_>) -> Result<(), UnpackError> {
        let place = beneath::place(self.path, dir).map_err(failed(entry, "find its place"))?;
        if place.components().count() > DEEPEST {
            return Err(invalid(entry, format!("is nested deeper than {DEEPEST} directories")));
        }
        Ok(())
    }
}

fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    if bytes.is_empty() { Ok(()) } else { file.write_all_at(bytes, offset) }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
