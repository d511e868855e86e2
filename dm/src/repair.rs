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
    /// The damaged metadata. Keep this file until all volumes were found to be complete.
    pub damaged: PathBuf,
}

impl Pool {
    /// Repairs the metadata of an inactive pool with thin_repair. thin_repair writes a new file, and thin_check checks that
    /// file. Then the new metadata replaces the damaged metadata, and a copy of the damaged metadata is kept.
    ///
    /// # Errors
    /// [`Error::RepairActive`], [`Error::LvmChecks`], [`Error::NotMetadata`] or [`Error::ForeignMetadata`] if the metadata is
    /// not the pool's, and [`Error::Repair`] if thin_repair cannot make sound metadata of it. Then the metadata was not
    /// changed.
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
            // An interrupted repair may have overwritten a part of the device, so the next repair must not read the device. The
            // superblock is written last. As long as the device has the old superblock, the repaired copy with that
            // superblock's checksum in its name is the copy to write.
            let repaired = self.state_file(&format!("repaired-{:08x}", found.checksum));
            if repaired.exists() {
                self.check_copy(&repaired, &lock)?;
            } else {
                self.repair_to_file(&new, &lock)?;
                copy_to_new_file(metadata, &damaged).map_err(Error::backing("copy", metadata))?;
                step("damaged metadata kept");
                fs::rename(&new, &repaired).map_err(Error::backing("rename", &new))?;
            }
            // Not opened before: thin_repair opens the device exclusively, too.
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
        // The file of an earlier attempt must not be used: the thin_repair of that attempt may still write to it.
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

/// Writes everything except the superblock, and then the superblock.
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
