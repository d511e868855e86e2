//! The directory in which an import unpacks layers, with a lock of its own, so that [`sweep`] knows what killed imports left.
//!
//! The lock of the base is not taken for that: whoever wrote the archive chooses which base it names and how long it unpacks.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sharedroot_format::BaseKey;
use sharedroot_sys::chain::chain;

use crate::error::{RootfsError, file};

/// How many names a process tries: its own number may be that of a killed import.
const MOST_NAMES: u32 = 10_000;

/// A directory for layers. Drop removes the directory.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// The open directory, which is locked.
    _lock: File,
}

impl Scratch {
    /// Makes a directory in `dir`.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub(crate) fn make(dir: &Path) -> Result<Self, RootfsError> {
        for number in 0..MOST_NAMES {
            let path = dir.join(format!("{}-{number}", std::process::id()));
            // Layers hold set-uid programs from strangers, so only root may reach them.
            let mut builder = DirBuilder::new();
            builder.mode(0o700);
            let above = builder.recursive(true).create(dir);
            let made = above.and_then(|()| builder.recursive(false).create(&path));
            match made {
                // A killed import left it, or another process removed `dir`, which was empty, at this moment.
                Err(e) if matches!(e.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
                    continue;
                }
                made => made.map_err(file("make", &path))?,
            }
            if let Some(lock) = lock(&path).map_err(file("lock", &path))? {
                let path = path.canonicalize().map_err(file("resolve", &path))?;
                return Ok(Self { path, _lock: lock });
            }
            // `sweep` of another process was faster than the lock, and removes the directory.
        }
        Err(file("make a directory in", dir)(ErrorKind::AlreadyExists.into()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.path);
        let removed = removed.and_then(|()| match self.path.parent().map(fs::remove_dir) {
            // Another import is running and has files there, or has removed the directory.
            Some(Err(error))
                if !matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) =>
            {
                Err(error)
            }
            _ => Ok(()),
        });
        if let Err(error) = removed {
            tracing::warn!("remove the unpacked layers {}: {error}", self.path.display());
        }
    }
}

/// Removes what killed imports have left in `dir`. Returns the directories. A directory whose name is a key is an import's by an
/// earlier version, which locks the base and not the directory: `lock_base` gives the lock, or `None` if somebody has it.
pub(crate) fn sweep<L>(
    dir: &Path,
    lock_base: impl Fn(&BaseKey) -> Result<Option<L>, RootfsError>,
) -> Vec<PathBuf> {
    let mut removed = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return removed };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str());
        let key = name.and_then(|name| name.parse().ok());
        let _base = match key.map(|key| lock_base(&key)).transpose() {
            Ok(Some(None)) => continue,
            Ok(lock) => lock,
            Err(error) => {
                tracing::warn!("remove {}: {}", path.display(), chain(&error));
                continue;
            }
        };
        let swept = match lock(&path) {
            Ok(Some(_nobodys)) => fs::remove_dir_all(&path).map(|()| removed.push(path.clone())),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = swept {
            tracing::warn!("remove {}: {error}", path.display());
        }
    }
    let _ = fs::remove_dir(dir);
    removed
}

/// The lock of a directory; `None` if another process has the lock or has removed the directory.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let gone = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => Ok(None),
        _ => Err(error),
    };
    let dir = match File::open(path) {
        Err(error) => return gone(error),
        Ok(dir) => dir,
    };
    match dir.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
        Ok(()) => {}
    }
    // Whoever had the lock before may have removed the directory, and another import may have the name.
    match fs::symlink_metadata(path) {
        Err(error) => gone(error),
        Ok(named) => Ok((named.ino() == dir.metadata()?.ino()).then_some(dir)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> BaseKey {
        BaseKey::of_digest([byte; 32])
    }

    #[test]
    fn only_what_nobody_has_is_swept() {
        let place = std::env::temp_dir().join(format!("sharedroot-scratch-{}", std::process::id()));
        let dir = place.join("imports");
        fs::create_dir(&place).unwrap();
        let (one, two) = (Scratch::make(&dir).unwrap(), Scratch::make(&dir).unwrap());
        assert_ne!(one.path(), two.path());
        assert_eq!(fs::metadata(one.path()).unwrap().mode() & 0o777, 0o700);
        fs::write(one.path().join("layer"), "").unwrap();
        let left = dir.canonicalize().unwrap().join("left");
        fs::create_dir_all(left.join("layer")).unwrap();
        let mut earlier =
            [b'1', b'2'].map(|n| dir.canonicalize().unwrap().join(key(n).to_string()));
        earlier.iter().for_each(|dir| fs::create_dir(dir).unwrap());
        let [runs, killed] = &mut earlier;
        let mut swept =
            sweep(&dir.canonicalize().unwrap(), |base| Ok((*base == key(b'2')).then_some(())));
        swept.sort();
        let mut both = [left, killed.clone()];
        both.sort();
        assert_eq!(swept, both);
        assert!(runs.exists(), "an import by an earlier version has its base's lock");
        fs::remove_dir(runs).unwrap();
        assert!(one.path().join("layer").exists() && two.path().exists());
        drop(one);
        assert!(two.path().exists());
        drop(two);
        assert!(!dir.exists());
        assert!(sweep(&dir, |_| Ok(Some(()))).is_empty());
        fs::remove_dir(place).unwrap();
    }
}
