//! Makes in a root, or in a volume, what a container needs there.

use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pathrs::Root;
use pathrs::flags::OpenFlags;
use rustix::fs::FileType;
use sharedroot_bases::{Kind, Missing};

use super::error::{RootError, file};
use super::landing::is_plain;
use super::needs::{Need, Needs, look_up};

impl Needs {
    /// Makes the paths that the root at `root` lacks, as runc does: the engine makes neither a mount point behind a
    /// dangling link nor the directory in which the process starts.
    ///
    /// # Errors
    /// [`RootError::File`].
    pub fn make_in(&self, root: &Path) -> Result<(), RootError> {
        let top = File::open(root).map_err(file("open", root))?;
        self.check_start(&top)?;
        let missing = self.lacking(&top).into_iter().map(|(_, missing)| missing);
        make_all(root, missing.collect())
    }

    /// Makes the directory in which the process starts, and no mount points: root of a user namespace makes its own.
    ///
    /// # Errors
    /// [`RootError::File`].
    pub fn make_start_in(&self, root: &Path) -> Result<(), RootError> {
        let top = File::open(root).map_err(file("open", root))?;
        self.check_start(&top)?;
        let is_last = |(index, missing)| (index + 1 == self.all.len()).then_some(missing);
        make_all(root, self.lacking(&top).into_iter().filter_map(is_last).collect())
    }

    /// Checks that process.cwd is not a file in the root.
    fn check_start(&self, root: &File) -> Result<(), RootError> {
        let Some((Need { path: start, .. }, mounts)) = self.all.split_last() else { return Ok(()) };
        if mounts.iter().any(|mount| start.starts_with(&mount.path)) {
            return Ok(());
        }
        match look_up(root, start).map(rustix::fs::fstat) {
            Ok(Ok(stat)) if !FileType::from_raw_mode(stat.st_mode).is_dir() => {
                let error = ErrorKind::NotADirectory.into();
                Err(file("start in process.cwd:", start)(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the directory in which the process starts if it is in a volume. In a read-only volume that is not
    /// possible.
    ///
    /// # Errors
    /// [`RootError::File`].
    pub fn make_start_in_volume(&self) -> Result<(), RootError> {
        let Some((Need { path: start, .. }, mounts)) = self.all.split_last() else { return Ok(()) };
        let covers = |mount: &&Need| start.starts_with(&mount.path);
        let Some(Need { path, source: Some(source), writable: true }) =
            mounts.iter().rfind(covers).filter(|_| is_plain(start))
        else {
            return Ok(());
        };
        let below = start.strip_prefix(path).unwrap_or(start);
        if below.as_os_str().is_empty() || !source.is_dir() {
            return Ok(());
        }
        let made = Root::open(source)
            .and_then(|volume| volume.mkdir_all(below, &Permissions::from_mode(0o755)));
        made.map(drop)
            .map_err(|e| file("make process.cwd in the volume", &source.join(below))(in_words(e)))
    }
}

fn make_all(root: &Path, missing: Vec<Missing>) -> Result<(), RootError> {
    if missing.is_empty() {
        return Ok(());
    }
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |e| {
            let source = std::io::Error::other(e);
            RootError::File { step: "make the mount point or process.cwd", path, source }
        }
    };
    let opened = Root::open(root).map_err(fail(root))?;
    for Missing { path, kind } in &missing {
        let dir = if *kind == Kind::File { path.parent().unwrap_or(path) } else { path };
        opened.mkdir_all(dir, &Permissions::from_mode(0o755)).map_err(fail(dir))?;
        if *kind == Kind::File {
            let (flags, mode) =
                (OpenFlags::O_WRONLY | OpenFlags::O_NOFOLLOW, Permissions::from_mode(0o644));
            opened.create_file(path, flags, &mode).map_err(fail(path))?;
        }
    }
    Ok(())
}

/// The kernel's error alone, if there is one: libpathrs adds structures in Rust's debug form.
fn in_words(error: pathrs::error::Error) -> std::io::Error {
    match error.kind() {
        pathrs::error::ErrorKind::OsError(Some(errno)) => std::io::Error::from_raw_os_error(errno),
        _ => std::io::Error::other(error),
    }
}
