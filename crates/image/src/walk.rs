//! A walk over a whole tree, file by file, in one order on every host, for its digest and its archive.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, OFlags, Stat};
use rustix::io::Errno;
use sharedroot_sys::by_descriptor::by_descriptor;
use sharedroot_sys::resolve::Resolve;
use sharedroot_sys::xattr::Of;

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
    /// The path at which the walk has found this file before, under another name.
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
/// of the bytes of the names. Follows no symbolic link, and leaves neither the tree nor its mount.
///
/// # Errors
/// [`WalkError`] if a file cannot be read; any error of `see`, which ends the walk.
pub fn walk<E: From<WalkError>>(
    top: BorrowedFd<'_>,
    mut see: impl FnMut(Found) -> Result<(), E>,
) -> Result<(), E> {
    let mut first_names: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut pending = vec![PathBuf::from(".")];
    while let Some(path) = pending.pop() {
        let mut found = look(top, path)?;
        if found.kind().is_dir() {
            let mut names = names(top, &found.path)?;
            names.sort_unstable_by(|a, b| b.cmp(a)); // descending: the next path is taken from the end
            let below = |name: OsString| match found.path.as_os_str() == "." {
                true => PathBuf::from(name),
                false => found.path.join(name),
            };
            pending.extend(names.into_iter().map(below));
        } else if found.stat.st_nlink > 1 {
            let file = (found.stat.st_dev, found.stat.st_ino);
            match first_names.get(&file) {
                Some(first) => found.same_as = Some(first.clone()),
                None => drop(first_names.insert(file, found.path.clone())),
            }
        }
        if found.kind().is_file() && found.same_as.is_none() {
            let content = open(top, &found.path, OFlags::RDONLY | OFlags::NONBLOCK);
            found.content = Some(content.map_err(failed("open", &found.path))?);
        }
        see(found)?;
    }
    Ok(())
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

fn names(top: BorrowedFd<'_>, path: &Path) -> Result<Vec<OsString>, WalkError> {
    let dir = open(top, path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed("open", path))?;
    let read = || -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
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
