//! A new pool's files and devices: claimed, made, and taken back.

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

/// What becomes of data on a device that a new pool gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExistingData {
    /// The device is refused.
    Refuse,
    /// The data is overwritten.
    Overwrite,
}

impl PoolBacking {
    /// Refuses what must not be overwritten: with [`ExistingData::Overwrite`] only what somebody uses. Changes nothing. The devices stay claimed as
    /// long as the caller has them open.
    pub(crate) fn claim(&self, existing: ExistingData) -> Result<Vec<File>, Error> {
        let mut claims = Vec::new();
        for path in [&self.data, &self.metadata] {
            if self.kind == BackingKind::Loop {
                if path.exists() {
                    return Err(Error::FileWithoutPool { path: path.clone() });
                }
                continue;
            }
            // Before the claim, which the second name of the first device could not get.
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

    /// Makes the files, or clears the devices' ends. The caller undoes it with [`PoolBacking::unmake`] if a later step fails.
    pub(crate) fn make(
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
        // What lay there must not be found again: not by us as metadata, not by a scan as a file system.
        for (device, path) in claims.iter_mut().zip([&self.data, &self.metadata]) {
            clear_ends(device).map_err(Error::backing("clear the ends of", path))?;
        }
        Ok(())
    }

    /// Takes back what [`PoolBacking::make`] did, as far as it came. Devices that carry no metadata of that block size and transaction
    /// are left alone: since a crash long ago something else may lie there by now.
    pub(crate) fn unmake(&self, block: Bytes, transaction: u64) -> Result<(), Error> {
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
                // The metadata last: by it the rest is recognised.
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
