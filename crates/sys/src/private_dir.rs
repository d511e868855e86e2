//! A directory that only the user of this process can write.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Why there is no such directory.
#[derive(Debug, thiserror::Error)]
pub enum PrivateDirError {
    /// A system call failed.
    #[error("{step} {path}")]
    File {
        /// The operation that failed.
        step: &'static str,
        /// The directory.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Another user may write where only root should.
    #[error(
        "state directory {path} can be written by others (owner {owner}, mode {mode:04o}); \
         give it to root alone: chown root {path} && chmod 700 {path}"
    )]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// The user ID of the owner.
        owner: u32,
        /// The permission bits.
        mode: u32,
    },
}

/// Makes the directory `dir` (mode 0700) and its parents where they are missing. A symbolic link is refused: in a directory
/// that others can write, another user may have put it there.
///
/// # Errors
/// [`PrivateDirError::Unsafe`] if `dir` is no directory, if its owner is not the user of this process, or if its mode lets
/// anybody but the owner write; [`PrivateDirError::File`].
pub fn private_dir(dir: &Path) -> Result<(), PrivateDirError> {
    checked(dir, || fs::symlink_metadata(dir))
}

/// As [`private_dir`], but `dir` may be a symbolic link, which is followed: for a path of the configuration, whose directory an
/// administrator may have moved to a larger disk.
///
/// # Errors
/// As [`private_dir`], of the directory that the link leads to.
pub fn private_dir_or_link(dir: &Path) -> Result<(), PrivateDirError> {
    checked(dir, || fs::metadata(dir))
}

fn checked(dir: &Path, look: impl Fn() -> io::Result<Metadata>) -> Result<(), PrivateDirError> {
    let file = |step| {
        let path = dir.to_owned();
        move |source| PrivateDirError::File { step, path, source }
    };
    let found = match look() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(file("create"))?;
            look()
        }
        found => found,
    };
    let found = found.map_err(file("stat"))?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    if !found.is_dir() || owner != nix::unistd::geteuid().as_raw() || mode & 0o022 != 0 {
        return Err(PrivateDirError::Unsafe { path: dir.to_owned(), owner, mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_state_directory_that_others_can_write_is_refused() {
        let dir = std::env::temp_dir().join(format!("sharedroot-open-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(private_dir(&dir), Err(PrivateDirError::Unsafe { mode: 0o777, .. })));
        fs::remove_dir(dir).unwrap();
    }

    #[test]
    fn a_link_is_followed_only_where_an_administrator_named_it() {
        let top = tempfile::tempdir().unwrap();
        let (dir, link) = (top.path().join("a/b"), top.path().join("link"));
        private_dir(&dir).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, 0o700);
        symlink(&dir, &link).unwrap();
        assert!(matches!(private_dir(&link), Err(PrivateDirError::Unsafe { .. })));
        private_dir_or_link(&link).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o770)).unwrap();
        let refused = private_dir_or_link(&link);
        assert!(matches!(refused, Err(PrivateDirError::Unsafe { mode: 0o770, .. })), "{refused:?}");
    }
}
