//! The scratch directory of an image: what is written while its base is made.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::error::MakeError;
use crate::top::Top;

/// The scratch directory with the upper and the work directory of the overlay. It is removed with this value.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory at `path`, and removes what a killed process left there. `top` is for the root of the overlay.
    pub(super) fn make(path: &Path, top: Top) -> Result<Self, MakeError> {
        let failed = |step| move |source| MakeError::Scratch { step, path: path.into(), source };
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove the old scratch directory")(error));
            }
            _ => {}
        }
        let private = |recursive| {
            let mut builder = DirBuilder::new();
            builder.mode(0o700).recursive(recursive);
            builder
        };
        if let Some(parent) = path.parent() {
            private(true)
                .create(parent)
                .map_err(failed("make the parent of the scratch directory"))?;
        }
        private(false).create(path).map_err(failed("make the scratch directory"))?;
        let scratch = Self(path.to_owned());
        private(false)
            .create(scratch.work())
            .map_err(failed("make work/ in the scratch directory"))?;
        private(false)
            .create(scratch.upper())
            .map_err(failed("make upper/ in the scratch directory"))?;
        // The root of the overlay has the mode and the owner of its upper directory, not those of a layer.
        chown(scratch.upper(), Some(top.owner.uid), Some(top.owner.gid))
            .and_then(|()| fs::set_permissions(scratch.upper(), Permissions::from_mode(top.mode)))
            .map_err(failed("set owner and mode of upper/ in the scratch directory"))?;
        Ok(scratch)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.0.join("work")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!("remove the scratch directory {}: {error}", self.0.display());
        }
    }
}
