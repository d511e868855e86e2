//! A pool's metadata repaired, by thin_repair.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::backing::{BackingKind, open_unclaimed};
use crate::error::Error;
use crate::failpoint::step;
use crate::lock::Lock;
use crate::pool::Pool;
use crate::superblock;
use crate::tools;

/// What [`Pool::repair`] has done.
#[derive(Debug)]
pub struct Repaired {
    /// The metadata as it was before, to be kept until everything is found to be there.
    pub damaged: PathBuf,
}

impl Pool {
    /// Repairs the metadata of an inactive pool with thin_repair: into a new file, which is checked and then put in the place
    /// of the old one. The old one is kept.
    ///
    /// # Errors
    /// [`Error::RepairActive`], [`Error::LvmChecks`], [`Error::NotMetadata`] or [`Error::ForeignMetadata`] if the metadata is not
    /// the pool's, and [`Error::Repair`] if thin_repair can make nothing sound of it; then the metadata is as it was.
    pub fn repair(&self) -> Result<Repaired, Error> {
        let lock = self.lock()?;
        if self.backing.kind == BackingKind::Lvm {
            return Err(Error::LvmChecks { node: self.backing.data.clone() });
        }
        if self.find()?.is_some() {
            return Err(Error::RepairActive { name: self.config.name.clone() });
        }
        let row = self.mark_unclean(&lock)?;
        let found = self.superblock_of(&row)?;
        self.backing.disconnect()?;
        let damaged = (1..)
            .map(|n| self.state_file(&format!("damaged-{n}")))
            .find(|path| !path.exists())
            .expect("numbers do not end");
        let metadata = &self.backing.metadata;
        let new = self.state_file("repairing");
        if self.backing.kind == BackingKind::Loop {
            self.repair_to_file(&new, &lock)?;
            fs::hard_link(metadata, &damaged).map_err(Error::backing("keep", metadata))?;
            step("damaged metadata kept");
            fs::rename(&new, metadata).map_err(Error::backing("replace", metadata))?;
        } else {
            // A repair that was cut short while it overwrote the device must not read it again. The superblock is written
            // last: as long as it is the old one, the repaired copy that was made of it is the one to write.
            let repaired = self.state_file(&format!("repaired-{:08x}", found.checksum));
            if repaired.exists() {
                self.check_copy(&repaired, &lock)?;
            } else {
                self.repair_to_file(&new, &lock)?;
                copy_to_new_file(metadata, &damaged).map_err(Error::backing("copy", metadata))?;
                step("damaged metadata kept");
                fs::rename(&new, &repaired).map_err(Error::backing("rename", &new))?;
            }
            // thin_repair claims the device, too, so it is ours from here on only.
            let mut device = open_unclaimed(metadata)?;
            if self.superblock_of(&row)? != found {
                return Err(Error::RepairActive { name: self.config.name.clone() });
            }
            overwrite_device(&repaired, &mut device).map_err(Error::backing("write", metadata))?;
            step("repaired copy written");
            fs::remove_file(&repaired).map_err(Error::backing("remove", &repaired))?;
        }
        step("repaired copy in place");
        let state_dir = &self.config.state_dir;
        File::open(state_dir)
            .and_then(|dir| dir.sync_all())
            .map_err(Error::backing("sync", state_dir))?;
        Ok(Repaired { damaged })
    }

    fn repair_to_file(&self, new: &Path, lock: &Lock) -> Result<(), Error> {
        // Never the file of an earlier attempt: its thin_repair may still be writing there.
        match fs::remove_file(new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::backing("remove", new)(error));
            }
            _ => {}
        }
        let size = self.backing.sizes()?.metadata;
        let made = new_file(new)
            .and_then(|file| file.set_len(size.0))
            .map_err(Error::backing("create", new))
            .and_then(|()| {
                let metadata = self.backing.metadata.as_os_str();
                let arguments = ["-i".as_ref(), metadata, "-o".as_ref(), new.as_os_str()];
                tools::run("thin_repair", &arguments, lock.as_ref())
                    .map_err(|source| Error::Repair { name: self.config.name.clone(), source })
            })
            .and_then(|_| self.check_copy(new, lock))
            .and_then(|()| {
                File::open(new)
                    .and_then(|file| file.sync_all())
                    .map_err(Error::backing("flush", new))
            });
        if made.is_err() {
            let _ = fs::remove_file(new);
        }
        made
    }

    fn check_copy(&self, copy: &Path, lock: &Lock) -> Result<(), Error> {
        tools::run("thin_check", &[copy.as_os_str()], lock.as_ref())
            .map(drop)
            .map_err(|source| Error::Repair { name: self.config.name.clone(), source })
    }

    fn state_file(&self, end: &str) -> PathBuf {
        self.config.state_dir.join(format!("{}.metadata.{end}", self.config.name))
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn copy_to_new_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = new_file(to)?;
    let copied = io::copy(&mut File::open(from)?, &mut target).and_then(|_| target.sync_all());
    if copied.is_err() {
        let _ = fs::remove_file(to);
    }
    copied
}

/// Everything but the first block, and then the first.
fn overwrite_device(from: &Path, device: &mut File) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut first = [0; superblock::BLOCK.0 as usize];
    from.read_exact(&mut first)?;
    device.seek(SeekFrom::Start(superblock::BLOCK.0))?;
    io::copy(&mut from, device)?;
    device.sync_all()?;
    step("repaired copy half written");
    device.seek(SeekFrom::Start(0))?;
    device.write_all(&first)?;
    device.sync_all()
}
