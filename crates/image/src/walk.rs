//! A walk over a whole tree, file by file, in one order on every host, for its digest and its archive.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, OFlags, Stat};
use rustix::io::Errno;
use sharedroot_sys::by_descriptor::by_descriptor;
use sharedroot_sys::resolve::Resolve;
use sharedroot_sys::xattr::Of;

use super::waiting::{NameCount, Waiting};

/// The names and values of extended attributes, in the order of the names.
pub type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// A file that a walk has found.
#[derive(Debug)]
pub struct Found {
    /// The path below the top; the path of the top is `.`.
    pub path: PathBuf,
    /// The attributes of the file (stat(2)); a symbolic link is not followed.
    pub stat: Stat,
    /// The extended attributes, without the SELinux label, which is that of the mount, and without those of overlay.
    pub attributes: Attributes,
    /// The target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// The path at which the walk has found this file before, under another name. Never for a symbolic link: mke2fs makes a new
    /// link for each name of one.
    pub same_as: Option<PathBuf>,
    /// The open content of a regular file that the walk has not found before.
    pub content: Option<OwnedFd>,
}

impl Found {
    /// The type of the file.
    #[must_use]
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// A file of a tree that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path:?}")]
pub struct WalkError {
    /// The operation.
    pub step: &'static str,
    /// The path below the top.
    pub path: PathBuf,
    /// The error of the system.
    pub source: io::Error,
}

/// Calls `see` for every file of the tree below the directory `top`: for a directory before the files in it, and in the order
/// of the bytes of the names. Follows no symbolic link, and leaves neither the tree nor its mount. Names that wait and files
/// with several names take at most 400 MiB of memory.
///
/// # Errors
/// [`WalkError`] if a file cannot be read, or if there are more names than that; any error of `see`, which ends the walk.
pub fn walk<E: From<WalkError>>(
    top: BorrowedFd<'_>,
    mut see: impl FnMut(Found) -> Result<(), E>,
) -> Result<(), E> {
    let mut first_names = FirstNames::default();
    let mut waiting = Waiting::default();
    loop {
        let mut found = look(top, waiting.path().to_owned())?;
        if found.kind().is_dir() {
            let names = names(top, &found.path)?;
            let mut names: Vec<_> = names.split_inclusive(|byte| *byte == 0).collect();
            names.sort_unstable_by(|a, b| b.cmp(a)); // descending: the next name is taken from the end
            let push = |name: &&[u8]| waiting.push(name.strip_suffix(b"\0").unwrap_or(name));
            names
                .iter()
                .try_for_each(push)
                .map_err(failed("take note of what is in", &found.path))?;
        } else if found.stat.st_nlink > 1 && !found.kind().is_symlink() {
            let same = first_names.of(&found.stat, &found.path);
            found.same_as = same.map_err(failed("take note of", &found.path))?;
        }
        if found.kind().is_file() && found.same_as.is_none() {
            let content = open(top, &found.path, OFlags::RDONLY | OFlags::NONBLOCK);
            found.content = Some(content.map_err(failed("open", &found.path))?);
        }
        see(found)?;
        if !waiting.go_on() {
            return Ok(());
        }
    }
}

/// How many files with several names a tree may have. For each name mke2fs looks through the list of all such files.
pub(super) const MOST_LINKED: usize = 1 << 18;
/// How many bytes the paths of their first names may have.
const MOST_LINKED_BYTES: usize = 64 << 20;

/// A tree has more files with several names than a walk keeps.
#[derive(Debug, thiserror::Error)]
#[error("more than {most} files with several names, or more than {mib} MiB of their paths")]
struct TooManyLinked {
    most: usize,
    mib: usize,
}

/// The paths of the first names of files with several names.
struct FirstNames {
    paths: HashMap<(u64, u64), PathBuf>,
    bytes: usize,
    most: usize,
}

impl Default for FirstNames {
    fn default() -> Self {
        Self { paths: HashMap::new(), bytes: 0, most: MOST_LINKED }
    }
}

impl FirstNames {
    /// The first name of a file; none if this is it.
    fn of(&mut self, stat: &Stat, path: &Path) -> io::Result<Option<PathBuf>> {
        let file = (stat.st_dev, stat.st_ino);
        if let Some(first) = self.paths.get(&file) {
            return Ok(Some(first.clone()));
        }
        self.bytes += path.as_os_str().len();
        if self.paths.len() >= self.most || self.bytes > MOST_LINKED_BYTES {
            let (most, mib) = (self.most, MOST_LINKED_BYTES >> 20);
            return Err(io::Error::other(TooManyLinked { most, mib }));
        }
        self.paths.insert(file, path.to_owned());
        Ok(None)
    }
}

fn look(top: BorrowedFd<'_>, path: PathBuf) -> Result<Found, WalkError> {
    let fd = open(top, &path, OFlags::PATH).map_err(failed("open", &path))?;
    let stat = rustix::fs::fstat(&fd).map_err(|errno| failed("stat", &path)(errno.into()))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let target = match kind.is_symlink() {
        true => {
            let target = rustix::fs::readlinkat(&fd, "", Vec::new());
            Some(target.map_err(|errno| failed("read the link", &path)(errno.into()))?.into_bytes())
        }
        false => None,
    };
    let attributes = attributes(top, &path, &fd, kind)
        .map_err(failed("read the extended attributes of", &path))?;
    Ok(Found { path, stat, attributes, target, same_as: None, content: None })
}

/// The names in a directory, each with a NUL behind it.
fn names(top: BorrowedFd<'_>, path: &Path) -> Result<Vec<u8>, WalkError> {
    let dir = open(top, path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed("open", path))?;
    let read = || -> io::Result<Vec<u8>> {
        let (mut names, mut count) = (Vec::new(), NameCount::default());
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                count.add(name.to_bytes())?;
                names.extend_from_slice(name.to_bytes_with_nul());
            }
        }
        Ok(names)
    };
    read().map_err(failed("read", path))
}

/// Reads the extended attributes of a file. A symbolic link may have some, and is reached through the descriptor of its parent.
fn attributes(
    top: BorrowedFd<'_>,
    path: &Path,
    fd: &OwnedFd,
    kind: FileType,
) -> io::Result<Attributes> {
    if !kind.is_symlink() {
        return attributes_of(Of::Path(&by_descriptor(fd)));
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let parent = open(top, above.unwrap_or(Path::new(".")), OFlags::PATH)?;
    let name = path.file_name().unwrap_or(OsStr::new("."));
    // A link of the image is the last component, and not followed.
    attributes_of(Of::Link(&by_descriptor(&parent).join(name)))
}

/// The attributes of a file, but its label, which is the mount's, and overlay's own.
pub(super) fn attributes_of(of: Of<'_>) -> io::Result<Attributes> {
    let mut attributes = Attributes::new();
    for name in of.names()? {
        let bytes = name.to_bytes();
        if bytes == b"security.selinux" || bytes.starts_with(b"trusted.overlay.") {
            continue;
        }
        let value = of.value(&name)?.ok_or(Errno::NODATA)?;
        attributes.push((bytes.to_vec(), value));
    }
    attributes.sort_unstable();
    Ok(attributes)
}

fn open(top: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(Resolve::OneTree.open(top, path, flags | OFlags::NOFOLLOW)?)
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WalkError {
    let path = path.to_owned();
    move |source| WalkError { step, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_several_names_have_a_bound() {
        let stat = |path| rustix::fs::stat(path).unwrap();
        let mut names = FirstNames { most: 2, ..FirstNames::default() };
        assert_eq!(names.of(&stat("/"), Path::new("a")).unwrap(), None);
        assert_eq!(names.of(&stat("/usr"), Path::new("b")).unwrap(), None);
        assert_eq!(names.of(&stat("/"), Path::new("c")).unwrap(), Some("a".into()));
        let error = names.of(&stat("/proc"), Path::new("d")).unwrap_err();
        assert!(error.to_string().contains("more than 2 files with several names"), "{error}");
        let mut names = FirstNames { bytes: MOST_LINKED_BYTES - 1, ..FirstNames::default() };
        assert_eq!(names.of(&stat("/"), Path::new("a")).unwrap(), None);
        let error = names.of(&stat("/usr"), Path::new("b")).unwrap_err();
        assert!(error.to_string().contains("more than 64 MiB of their paths"), "{error}");
    }
}
