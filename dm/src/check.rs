//! A pool's metadata checked, by thin_check.

use crate::backing::BackingKind;
use crate::error::Error;
use crate::failpoint::step;
use crate::lock::Lock;
use crate::pool::Pool;
use crate::store::PoolRow;
use crate::superblock::Superblock;
use crate::tools::{self, ToolError};

impl Pool {
    /// Checks the metadata with thin_check. The metadata of an active pool is read from a reserved metadata snapshot, so the
    /// pool can be in use.
    ///
    /// # Errors
    /// [`Error::DamagedMetadata`] with what thin_check printed; [`Error::LvmChecks`] for an inactive pool of LVM.
    pub fn check(&self) -> Result<(), Error> {
        let reader_lock = self.reader_lock()?;
        let checked = if self.find()?.is_some() {
            self.reserve_metadata_snapshot(&reader_lock)?.run("thin_check", &[])
        } else if self.backing.kind == BackingKind::Lvm {
            return Err(Error::LvmChecks { node: self.backing.data.clone() });
        } else {
            let lock = self.lock()?;
            tools::run("thin_check", &[self.backing.metadata.as_os_str()], lock.as_ref())
        };
        let Err(source) = checked else { return Ok(()) };
        if matches!(source, ToolError::Said { .. }) {
            self.mark_unclean(&self.lock()?)?;
        }
        Err(self.check_error(source))
    }

    /// Checks the metadata of an inactive pool, and clears the flag of the kernel that the metadata needs a check.
    pub(crate) fn check_inactive(&self, lock: &Lock) -> Result<(), Error> {
        let arguments = ["--clear-needs-check-flag".as_ref(), self.backing.metadata.as_os_str()];
        tools::run("thin_check", &arguments, lock.as_ref())
            .map(drop)
            .map_err(|source| self.check_error(source))
    }

    /// Makes the next activation check the metadata, even if the pool is deactivated before.
    pub(crate) fn mark_unclean(&self, _lock: &Lock) -> Result<PoolRow, Error> {
        let row = PoolRow { clean: false, ..self.pool_row()? };
        self.store.write(|w| w.put_pool(&self.config.name, &row))?;
        step("pool suspected");
        Ok(row)
    }

    fn check_error(&self, source: ToolError) -> Error {
        let (name, metadata) = (self.config.name.clone(), self.backing.metadata.clone());
        match source {
            ToolError::Said { .. } => Error::DamagedMetadata { name, metadata, source },
            _ => Error::Check { name, source },
        }
    }

    /// The superblock of the metadata.
    ///
    /// # Errors
    /// [`Error::NotMetadata`], or [`Error::ForeignMetadata`] if the block size is not that of the row.
    pub(crate) fn superblock_of(&self, row: &PoolRow) -> Result<Superblock, Error> {
        let path = &self.backing.metadata;
        let Some(found) = self.backing.superblock()? else {
            return Err(Error::NotMetadata { path: path.clone() });
        };
        if found.block != row.block {
            let found = format!("blocks of {}, not {}", found.block, row.block);
            return Err(Error::ForeignMetadata { path: path.clone(), found });
        }
        Ok(found)
    }
}
