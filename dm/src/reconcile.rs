//! Store, pool and kernel made to agree after a process died within a change, or their differences reported.

use std::collections::{BTreeMap, BTreeSet};

use sharedroot_format::VolumeName;

use crate::delete::Deleted;
use crate::error::Error;
use crate::failpoint::step;
use crate::lock::Lock;
use crate::names::{DmIdentity, ThinId};
use crate::pool::Pool;
use crate::report::{Reconcile, Report, TransactionIds};
use crate::status::StatusLine;
use crate::store::{Phase, VolumeRow};

/// What becomes of a store whose transaction id is not the pool's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mismatch {
    /// The difference is reported, and nothing is changed.
    Report,
    /// The store gets the pool's transaction id.
    TakePool,
}

impl Pool {
    /// Finishes or undoes what processes that died have left half done, removes devices and thin ids of the pool that no volume
    /// owns, and reports the volumes that the pool has lost. Volumes that a living process creates or deletes are not changed.
    ///
    /// If the transaction ids of pool and store do not match, one of the two is an old copy, or another program has changed the
    /// pool. Then a volume that was never created looks like a volume whose row was lost, so nothing is changed and the report
    /// says what differs. [`reconcile_by_force`](Self::reconcile_by_force) goes on in that case.
    ///
    /// # Errors
    /// The store or the kernel cannot be read. What cannot be repaired is in the report.
    pub fn reconcile(&self, how: Reconcile) -> Result<Report, Error> {
        self.compare(how, Mismatch::Report)
    }

    /// As [`reconcile`](Self::reconcile), but makes the store agree with the pool: the store gets the pool's transaction id,
    /// thin ids that no volume owns are deleted, and the rows of volumes that the pool has lost are dropped.
    ///
    /// # Errors
    /// As [`reconcile`](Self::reconcile).
    pub fn reconcile_by_force(&self, how: Reconcile) -> Result<Report, Error> {
        self.compare(how, Mismatch::TakePool)
    }

    /// The part of [`reconcile`](Self::reconcile) that [`open`](Self::open) does. It costs one query if every volume is ready,
    /// and one call of the kernel for each deleted volume that is still in use.
    pub(crate) fn recover_unfinished(&self) -> Result<Report, Error> {
        let mut report = Report::default();
        self.recover(Reconcile::Apply, &mut report)?;
        Ok(report)
    }

    fn compare(&self, how: Reconcile, mismatch: Mismatch) -> Result<Report, Error> {
        let dry_run = how == Reconcile::DryRun;
        let mut report = Report { dry_run, ..Report::default() };
        // A dry run does not take the pool's transaction id.
        let take = if dry_run { Mismatch::Report } else { mismatch };
        report.transaction = self.compare_transactions(take)?;
        if report.transaction.is_some() && mismatch == Mismatch::Report {
            report.untouched = true;
            self.compare_ids(Reconcile::DryRun, &mut report)?;
            return Ok(report);
        }
        self.recover(how, &mut report)?;
        self.remove_stray_devices(how, &mut report)?;
        self.compare_ids(how, &mut report)?;
        if mismatch == Mismatch::TakePool && !dry_run {
            self.forget_lost(&mut report)?;
        }
        report.name_users();
        Ok(report)
    }

    /// Returns the transaction ids of pool and store if they do not match. With [`Mismatch::TakePool`] the store then gets the
    /// pool's id.
    fn compare_transactions(&self, mismatch: Mismatch) -> Result<Option<TransactionIds>, Error> {
        let name = &self.config.name;
        let _pool_lock = self.lock()?;
        let (StatusLine::Working(working), Some(row)) =
            (self.status_line()?, self.store.pool(name)?)
        else {
            return Ok(None);
        };
        let (kernel, store) = (working.transaction_id, row.transaction_id);
        if store == kernel || Some(store) == kernel.checked_add(1) {
            return Ok(None);
        }
        if mismatch == Mismatch::TakePool {
            self.store.write(|w| w.set_transaction_id(name, kernel))?;
            step("transaction taken");
        }
        Ok(Some(TransactionIds { pool: kernel, store }))
    }

    fn recover(&self, how: Reconcile, report: &mut Report) -> Result<(), Error> {
        let (pool, run_dir) = (&self.config.name, &self.config.run_dir);
        for row in self.store.unfinished(pool)? {
            if row.is_deferred() && self.removal_is_deferred(&row)? {
                report.waiting.push(row.name);
                continue;
            }
            let Some(_lock) = Lock::try_volume(run_dir, pool, &row.name)? else {
                report.in_work.push(row.name);
                continue;
            };
            // Read again under the lock: the process that created the volume may have finished meanwhile.
            let Some(row) = self.row(&row.name)?.filter(|row| row.phase != Phase::Ready) else {
                continue;
            };
            if how == Reconcile::Apply {
                match self.delete_row_when_unused(&row, None) {
                    Ok(Deleted::Deferred) => {
                        report.waiting.push(row.name);
                        continue;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        report.failed.push((row.name.to_string(), error));
                        continue;
                    }
                }
            }
            match row.phase {
                Phase::Deleting if row.is_deferred() => report.released.push(row.name),
                Phase::Deleting => report.finished.push(row.name),
                _ => report.undone.push(row.name),
            }
        }
        Ok(())
    }

    /// Removes devices of this pool whose name and thin id no row has.
    fn remove_stray_devices(&self, how: Reconcile, report: &mut Report) -> Result<(), Error> {
        let pool = &self.config.name;
        let devices =
            self.kernel.names().map_err(|source| Error::List { pool: pool.clone(), source })?;
        // Read after the list of devices, because a row is written before its device is created.
        let mut rows = self.store.volumes(pool)?;
        let known = |rows: &[VolumeRow], name: &VolumeName, id: Option<ThinId>| {
            rows.iter().any(|row| row.name == *name || Some(row.id) == id)
        };
        let names: BTreeSet<_> = rows.iter().map(|row| row.name.clone()).collect();
        for device in devices {
            let volume = DmIdentity::volume_of(pool, &device).filter(|name| !names.contains(name));
            let Some(volume) = volume else { continue };
            let Some(found) = self.find_device(&volume, &device)? else { continue };
            let Some(id) = DmIdentity::id_of(pool, &self.identity.uuid, &found.uuid) else {
                continue;
            };
            if known(&rows, &volume, Some(id)) {
                continue;
            }
            let Some(_lock) = Lock::try_volume(&self.config.run_dir, pool, &volume)? else {
                continue;
            };
            rows = self.store.volumes(pool)?;
            if known(&rows, &volume, Some(id)) {
                continue;
            }
            let identity = DmIdentity { name: device, uuid: found.uuid };
            let removed = match how {
                Reconcile::DryRun => Ok(()),
                Reconcile::Apply => self.remove_device(&volume, &identity),
            };
            match removed {
                Ok(()) => report.stray_devices.push(identity.name),
                Err(error) => report.failed.push((identity.name, error)),
            }
            step("stray device removed");
        }
        Ok(())
    }

    /// Deletes the thin ids of the pool that no row owns, and reports the complete volumes whose thin id the pool does not
    /// have. Holds the pool's lock, so that no process is within a change.
    fn compare_ids(&self, how: Reconcile, report: &mut Report) -> Result<(), Error> {
        let pool = &self.config.name;
        let reader_lock = self.reader_lock()?;
        let pool_lock = self.lock()?;
        let ids = match self.ids_to_compare(&reader_lock, how) {
            Ok(ids) => ids,
            Err(error) => {
                report.failed.push((format!("pool {pool}"), error));
                return Ok(());
            }
        };
        let rows = self.store.volumes(pool)?;
        // If another transaction created the id, the id is not the row's: the store is an older copy, and the id was reused.
        let made_by_this_row = |row: &VolumeRow, made: u64| row.made == 0 || row.made == made;
        let (lost, owning): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| {
            row.phase == Phase::Ready
                && !ids.get(&row.id).is_some_and(|made| made_by_this_row(row, *made))
        });
        report.lost.extend(lost.into_iter().map(|row| row.name));
        let owned: BTreeSet<_> = owning.iter().map(|row| row.id).collect();
        for id in ids.keys().filter(|id| !owned.contains(id)) {
            let deleted = match how {
                Reconcile::DryRun => Ok(()),
                Reconcile::Apply => self.delete_stray(&pool_lock, *id),
            };
            match deleted {
                Ok(()) => report.stray_ids.push(*id),
                Err(error) => report.failed.push((format!("thin id {id}"), error)),
            }
        }
        Ok(())
    }

    /// The thin ids in the pool's metadata, and the transactions that created them. Reading them needs the pool's only metadata
    /// snapshot. A dry run must not release a snapshot that a process that died has left.
    ///
    /// # Errors
    /// [`Error::SnapshotReserved`] in a dry run.
    fn ids_to_compare(
        &self,
        reader_lock: &Lock,
        how: Reconcile,
    ) -> Result<BTreeMap<ThinId, u64>, Error> {
        if self.working()?.1.held_root.is_some() && how == Reconcile::DryRun {
            return Err(Error::SnapshotReserved { pool: self.config.name.clone() });
        }
        self.thin_ids(reader_lock)
    }

    fn delete_stray(&self, pool_lock: &Lock, id: ThinId) -> Result<(), Error> {
        self.intend_deletion(pool_lock, |_| Ok(()))?;
        let deleted = self.kernel.message(&self.identity, &format!("delete {id}"));
        step("stray id deleted");
        let pool = self.config.name.clone();
        deleted.map_err(|source| Error::DeleteStray { id, pool, source })
    }

    /// Drops the rows of the volumes that the pool has lost.
    fn forget_lost(&self, report: &mut Report) -> Result<(), Error> {
        for name in &report.lost {
            let Some(_lock) = Lock::try_volume(&self.config.run_dir, &self.config.name, name)?
            else {
                continue;
            };
            let erased = self.row(name)?.map_or(Ok(()), |row| self.delete_row(&row));
            step("lost volume forgotten");
            report.failed.extend(erased.err().map(|error| (name.to_string(), error)));
        }
        Ok(())
    }
}
