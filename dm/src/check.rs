//! A pool's metadata checked and repaired, by thin_check and thin_repair.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::error::Error;
use crate::failpoint::step;
use crate::media::{Kind, media};
use crate::pool::Pool;
use crate::tools::{self, ToolError};
use crate::units::Bytes;

/// What [`Pool::repair`] has done.
#[derive(Debug)]
pub struct Repaired {
    /// The metadata as it was before, to be kept until everything is found to be there.
    pub damaged: PathBuf,
}

impl Pool {
    /// Checks the metadata with thin_check: of an active pool by a reserved metadata snapshot, while it is in use.
    ///
    /// # Errors
    /// [`Error::Unsound`] with what thin_check says; [`Error::LvmChecks`] for an inactive pool of LVM's.
    pub fn check(&self) -> Result<(), Error> {
        let lock = self.lock()?;
        if self.find()?.is_none() {
            return match self.media.kind {
                Kind::Lvm => Err(Error::LvmChecks { node: self.media.data.clone() }),
                _ => self.check_metadata(),
            };
        }
        let snapshot = self.reserve_metadata(&lock)?;
        let checked =
            tools::run("thin_check", &["--metadata-snap".as_ref(), snapshot.node().as_ref()]);
        checked.map(drop).map_err(|source| self.unsound(source))
    }

    /// Checks the metadata of an inactive pool, and clears the mark of the kernel's that it must be checked.
    pub(crate) fn check_metadata(&self) -> Result<(), Error> {
        let metadata = &self.media.metadata;
        tools::run("thin_check", &["--clear-needs-check-flag".as_ref(), metadata.as_ref()])
            .map(drop)
            .map_err(|source| self.unsound(source))
    }

    fn unsound(&self, source: ToolError) -> Error {
        let (name, metadata) = (self.config.name.clone(), self.media.metadata.clone());
        match source {
            ToolError::Said { .. } => Error::Unsound { name, metadata, source },
            _ => Error::Check { name, source },
        }
    }

    /// Repairs the metadata of an inactive pool with thin_repair: into a new file, which is checked and then put in the place
    /// of the old one. The old one is kept.
    ///
    /// # Errors
    /// [`Error::RepairActive`], [`Error::LvmChecks`], and [`Error::Repair`] if thin_repair can make nothing sound of it; then
    /// the metadata is as it was.
    pub fn repair(&self) -> Result<Repaired, Error> {
        let _lock = self.lock()?;
        if self.media.kind == Kind::Lvm {
            return Err(Error::LvmChecks { node: self.media.data.clone() });
        }
        if self.find()?.is_some() {
            return Err(Error::RepairActive { name: self.config.name.clone() });
        }
        let metadata = &self.media.metadata;
        let repaired = self.beside("repaired");
        // A repair that was cut short while it overwrote a device must not read that device again.
        if !repaired.exists() {
            let new = self.beside("repairing");
            let made = new_file(&new, self.media.sizes()?.metadata)
                .map_err(media("create", &new))
                .and_then(|()| self.repair_into(&new));
            if let Err(error) = made {
                let _ = fs::remove_file(&new);
                return Err(error);
            }
            step("repaired copy made");
            fs::rename(&new, &repaired).map_err(media("rename", &new))?;
        }
        let damaged = (1..)
            .map(|n| self.beside(&format!("damaged-{n}")))
            .find(|path| !path.exists())
            .expect("numbers do not end");
        if self.media.kind == Kind::Loop {
            renameat2(AT_FDCWD, &repaired, AT_FDCWD, metadata, RenameFlags::RENAME_EXCHANGE)
                .map_err(|errno| media("replace", metadata)(errno.into()))?;
            step("repaired copy in place");
            fs::rename(&repaired, &damaged).map_err(media("rename", &repaired))?;
        } else {
            copy(metadata, &damaged).map_err(media("copy", metadata))?;
            step("damaged metadata copied");
            copy(&repaired, metadata).map_err(media("write", metadata))?;
            step("repaired copy in place");
            fs::remove_file(&repaired).map_err(media("remove", &repaired))?;
        }
        sync_dir(&self.config.state_dir).map_err(media("sync", &self.config.state_dir))?;
        Ok(Repaired { damaged })
    }

    fn repair_into(&self, new: &Path) -> Result<(), Error> {
        let failed = |source| Error::Repair { name: self.config.name.clone(), source };
        let metadata = &self.media.metadata;
        let arguments = ["-i".as_ref(), metadata.as_os_str(), "-o".as_ref(), new.as_os_str()];
        tools::run("thin_repair", &arguments).map_err(failed)?;
        tools::run("thin_check", &[new.as_os_str()]).map(drop).map_err(failed)?;
        File::open(new).and_then(|file| file.sync_all()).map_err(media("flush", new))
    }

    fn beside(&self, end: &str) -> PathBuf {
        self.config.state_dir.join(format!("{}.metadata.{end}", self.config.name))
    }
}

fn new_file(path: &Path, size: Bytes) -> io::Result<()> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_len(size.0)
}

/// Copies from or to a device, whose size is its own.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut target =
        File::options().write(true).create(true).truncate(false).mode(0o600).open(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
