//! A new pool's files and devices: claimed, created, and removed when the creation fails.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;

use super::devices::{carried, clear_ends, open_unclaimed};
use super::files::{allocate, bounded, make_file};
use super::{BackingKind, PoolBacking, loopback};
use crate::config::Backing;
use crate::error::Error;
use crate::failpoint::step;
use crate::superblock::Superblock;
use crate::units::Bytes;

/// What to do with data on a device that a new pool gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExistingData {
    /// The device is refused.
    Refuse,
    /// The data is overwritten.
    Overwrite,
}

impl PoolBacking {
    /// Claims the devices of a new pool. Refuses a device in use, an existing loop file, and, with [`ExistingData::Refuse`], a
    /// device with data. Changes nothing. The devices stay claimed as long as the caller keeps the returned files open.
    pub(crate) fn claim(&self, existing: ExistingData) -> Result<Vec<File>, Error> {
        let mut claims = Vec::new();
        for path in [&self.data, &self.metadata] {
            if self.kind == BackingKind::Loop {
                if path.exists() {
                    return Err(Error::FileWithoutPool { path: path.clone() });
                }
                continue;
            }
            // Compared before the claim: a second claim of the first device would fail as in use.
            if let Some(first) = claims.first().map(File::metadata) {
                let here = fs::metadata(path).map_err(Error::backing("look at", path))?;
                if first.map_err(Error::backing("look at", &self.data))?.rdev() == here.rdev() {
                    return Err(Error::OneDevice { path: path.clone() });
                }
            }
            let mut device = open_unclaimed(path)?;
            if existing == ExistingData::Refuse
                && let Some(found) = carried(&mut device).map_err(Error::backing("read", path))?
            {
                return Err(Error::Signature { path: path.clone(), found });
            }
            claims.push(device);
        }
        Ok(claims)
    }

    /// Creates the loop files, or clears the ends of the devices. If a later step fails, the caller calls
    /// [`PoolBacking::remove`].
    pub(crate) fn create(
        &self,
        backing: &Backing,
        mut claims: Vec<File>,
        block: Bytes,
    ) -> Result<(), Error> {
        if let Backing::Loop { data, metadata } = backing {
            let size = bounded(&self.data, *data)?.round_down(block).max(block);
            make_file(&self.data, size)?;
            step("data file made");
            allocate(&make_file(&self.metadata, *metadata)?, *metadata, &self.metadata)?;
            step("metadata file made");
            return Ok(());
        }
        // Old data must not be found again: neither as a pool's metadata, nor as a file system by a scan.
        for (device, path) in claims.iter_mut().zip([&self.data, &self.metadata]) {
            clear_ends(device).map_err(Error::backing("clear the ends of", path))?;
        }
        Ok(())
    }

    /// Undoes what [`PoolBacking::create`] has done so far. Devices without metadata of this block size and transaction are not
    /// changed: if the creation crashed long ago, the devices may hold something else by now.
    pub(crate) fn remove(&self, block: Bytes, transaction: u64) -> Result<(), Error> {
        match self.kind {
            BackingKind::Lvm => return Ok(()),
            BackingKind::Loop => {}
            BackingKind::Devices => {
                let found = match self.superblock() {
                    Err(Error::Backing { source, .. })
                        if source.kind() == io::ErrorKind::NotFound =>
                    {
                        None
                    }
                    found => found?,
                };
                let ours = |found: &Superblock| {
                    found.block == block && found.transaction_id.abs_diff(transaction) <= 1
                };
                if !found.as_ref().is_some_and(ours) {
                    return Ok(());
                }
                // The metadata device comes last, because a later attempt recognises the pool by its metadata.
                for path in [&self.data, &self.metadata] {
                    let mut device = open_unclaimed(path)?;
                    clear_ends(&mut device).map_err(Error::backing("clear the ends of", path))?;
                    step("device cleared");
                }
                return Ok(());
            }
        }
        for path in [&self.data, &self.metadata] {
            match path.try_exists().map_err(Error::backing("look for", path))? {
                true => loopback::detach(path)?,
                false => continue,
            }
            fs::remove_file(path).map_err(Error::backing("remove", path))?;
            step("file removed");
        }
        Ok(())
    }
}
