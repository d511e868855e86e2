//! A directory that only the user of this process can write.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Why there is no such directory.
#[derive(Debug, thiserror::Error)]
pub enum PrivateDirError {
    /// A system call failed.
    #[error("{step} {path}: {source}")]
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

/// Makes the directory `dir` (mode 0700) and its parents where they are missing.
///
/// # Errors
/// [`PrivateDirError::Unsafe`] if `dir` is no directory, if its owner is not the user of this process, or if its mode lets
/// anybody but the owner write; [`PrivateDirError::File`].
pub fn private_dir(dir: &Path) -> Result<(), PrivateDirError> {
    let file = |step| {
        let path = dir.to_owned();
        move |source| PrivateDirError::File { step, path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(file("create"))?;
    let found = fs::symlink_metadata(dir).map_err(file("stat"))?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    if !found.is_dir() || owner != nix::unistd::geteuid().as_raw() || mode & 0o022 != 0 {
        return Err(PrivateDirError::Unsafe { path: dir.to_owned(), owner, mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_state_directory_that_others_can_write_is_refused() {
        let dir = std::env::temp_dir().join(format!("sharedroot-open-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(private_dir(&dir), Err(PrivateDirError::Unsafe { mode: 0o777, .. })));
        fs::remove_dir(dir).unwrap();
    }
}
