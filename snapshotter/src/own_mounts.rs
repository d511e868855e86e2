//! Mounts of our own: of active snapshots that are mounted already when a client asks for their mounts.
//!
//! A device has one superblock, and that is either writable or read-only. So who mounts the device of a running container
//! read-only gets EBUSY (`get_tree_bdev` in fs/super.c), and containerd does so for `docker commit`. A bind of a writable mount can
//! be read-only. The source of that bind must be a mount that nobody takes away meanwhile, so it is one of our own. It goes with
//! the snapshot, and outlives this process.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sharedroot_dm::ActiveVolume;
use sharedroot_label::{MountLabel, enabled};
use sharedroot_sys::mount::{self, Access, MountError, Setting};

use crate::row_locks::RowLock;

/// Why there is no such mount, or why it stays.
#[derive(Debug, thiserror::Error)]
pub enum OwnMountError {
    /// A system call on the mount point failed.
    #[error("{step} the mount point {path}")]
    Place {
        /// The step.
        step: &'static str,
        /// The mount point.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The kernel refuses to mount or to unmount.
    #[error(transparent)]
    Mount(#[from] MountError),
}

/// The mounts, below the run directory, which only root may enter.
#[derive(Debug)]
pub struct OwnMounts {
    dir: PathBuf,
}

impl OwnMounts {
    /// The mounts below this run directory.
    #[must_use]
    pub fn below(run_dir: &Path) -> Self {
        Self { dir: run_dir.join("active") }
    }

    /// Our mount of a snapshot that is mounted writable already. Makes it if there is none.
    ///
    /// # Errors
    /// [`OwnMountError`].
    pub fn of(
        &self,
        lock: &RowLock<'_>,
        volume: &ActiveVolume,
        label: Option<&MountLabel>,
    ) -> Result<PathBuf, OwnMountError> {
        let at = self.place(lock);
        match mount::device_mounted_at(&at) {
            Some(device) if device == (volume.major, volume.minor) => return Ok(at),
            Some(_) => mount::detach(&at)?,
            None => {}
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&at);
        made.map_err(place("make", &at))?;
        // The options of the file system are those of its first mount; only whether it is writable, and its label, must be the
        // same.
        let mut options = vec![Setting::Flag("noinit_itable")];
        let label = label.filter(|_| enabled()).map(MountLabel::as_context);
        options.extend(label.map(|label| Setting::Value("context", label)));
        let mounted = mount::block_device("ext4", &volume.device, Access::ReadWrite, &options)?;
        mounted.attach(&at)?.keep();
        Ok(at)
    }

    /// Removes our mount of a snapshot, if there is one.
    ///
    /// # Errors
    /// [`OwnMountError`].
    pub fn remove(&self, lock: &RowLock<'_>) -> Result<(), OwnMountError> {
        let at = self.place(lock);
        if mount::device_mounted_at(&at).is_some() {
            mount::detach(&at)?;
        }
        match fs::remove_dir(&at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(place("remove", &at)(error))
            }
            _ => Ok(()),
        }
    }

    fn place(&self, lock: &RowLock<'_>) -> PathBuf {
        self.dir.join(lock.id().get().to_string())
    }
}

fn place(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OwnMountError {
    let path = path.to_owned();
    move |source| OwnMountError::Place { step, path, source }
}
