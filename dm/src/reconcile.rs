//! Makes store, pool and kernel agree after somebody died in the middle.

use std::fmt;

use crate::error::{Error, chain};
use crate::lock::Lock;
use crate::names::{DmLabel, VolumeName};
use crate::pool::Pool;
use crate::status::StatusLine;
use crate::store::{Phase, VolumeRow};

/// What [`Pool::reconcile`] found and did, or would do.
#[derive(Debug, Default)]
pub struct Report {
    /// Half-made volumes whose maker is dead: deleted.
    pub undone: Vec<VolumeName>,
    /// Half-deleted volumes whose deleter is dead: deleted.
    pub finished: Vec<VolumeName>,
    /// Volumes that a living process is making or deleting: left alone.
    pub in_work: Vec<VolumeName>,
    /// Devices of the pool without a volume in the store: removed.
    pub stray_devices: Vec<String>,
    /// The pool's and the store's transaction ids, where they did not match: the pool's was taken.
    pub transaction: Option<(u64, u64)>,
    /// What could not be put right, and why. The next reconcile tries again.
    pub failed: Vec<(String, Error)>,
}

impl Report {
    /// Everything agreed.
    pub fn is_clean(&self) -> bool {
        self.undone.is_empty()
            && self.finished.is_empty()
            && self.stray_devices.is_empty()
            && self.transaction.is_none()
            && self.failed.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("store, pool and kernel agree");
        }
        let mut parts = Vec::new();
        if let Some((kernel, store)) = self.transaction {
            parts.push(format!("pool at transaction {kernel}, store at {store}"));
        }
        parts.extend(self.undone.iter().map(|volume| format!("{volume} was half-made")));
        parts.extend(self.finished.iter().map(|volume| format!("{volume} was half-deleted")));
        parts.extend(
            self.stray_devices.iter().map(|device| format!("{device} belonged to no volume")),
        );
        parts.extend(
            self.failed
                .iter()
                .map(|(what, error)| format!("{what} cannot be put right: {}", chain(error))),
        );
        f.write_str(&parts.join("; "))
    }
}

impl Pool {
    /// Finishes or undoes what processes that died have left half-done. What a living process makes is left alone.
    ///
    /// If pool and store disagree on the transaction, the pool as it is becomes the truth. With `dry_run` nothing is changed
    /// and the report says what would be.
    ///
    /// # Errors
    /// The store or the kernel cannot be read. A volume that cannot be put right is in the report.
    pub fn reconcile(&self, dry_run: bool) -> Result<Report, Error> {
        let mut report = Report::default();
        self.agree_on_transaction(dry_run, &mut report)?;
        self.recover(self.store.unfinished(&self.config.name)?, dry_run, &mut report)?;
        self.remove_strays(dry_run, &mut report)?;
        Ok(report)
    }

    /// The part of [`reconcile`](Self::reconcile) that [`open`](Self::open) does: one query when all is well.
    pub(crate) fn recover_unfinished(&self) -> Result<Report, Error> {
        let mut report = Report::default();
        self.recover(self.store.unfinished(&self.config.name)?, false, &mut report)?;
        Ok(report)
    }

    fn recover(
        &self,
        rows: Vec<VolumeRow>,
        dry_run: bool,
        report: &mut Report,
    ) -> Result<(), Error> {
        for row in rows {
            let Some(lock) = Lock::try_volume(&self.config.run_dir, &self.config.name, &row.name)?
            else {
                report.in_work.push(row.name);
                continue;
            };
            // Again under the lock: its maker may have come to the end in between.
            let Some(row) = self.row(&row.name)?.filter(|row| row.phase != Phase::Ready) else {
                continue;
            };
            if !dry_run {
                if let Err(error) = self.erase(&row) {
                    report.failed.push((row.name.to_string(), error));
                    continue;
                }
                lock.forget();
            }
            match row.phase {
                Phase::Deleting => report.finished.push(row.name),
                _ => report.undone.push(row.name),
            }
        }
        Ok(())
    }

    fn agree_on_transaction(&self, dry_run: bool, report: &mut Report) -> Result<(), Error> {
        let name = &self.config.name;
        let _turn = self.lock()?;
        let (StatusLine::Working(working), Some(row)) =
            (self.status_line()?, self.store.pool(name)?)
        else {
            return Ok(());
        };
        let (kernel, store) = (working.transaction_id, row.transaction_id);
        if store == kernel || Some(store) == kernel.checked_add(1) {
            return Ok(());
        }
        report.transaction = Some((kernel, store));
        if dry_run {
            return Ok(());
        }
        self.store.write(|w| w.set_transaction_id(name, kernel))
    }

    fn remove_strays(&self, dry_run: bool, report: &mut Report) -> Result<(), Error> {
        let pool = &self.config.name;
        let names =
            self.kernel.names().map_err(|source| Error::List { pool: pool.clone(), source })?;
        for device in names {
            let Some(volume) = DmLabel::volume_of(pool, &device) else { continue };
            let ours = self
                .find_device(&volume, &device)?
                .is_some_and(|d| DmLabel::id_of(pool, &d.uuid).is_some());
            if !ours || self.row(&volume)?.is_some() {
                continue;
            }
            let Some(_lock) = Lock::try_volume(&self.config.run_dir, pool, &volume)? else {
                continue;
            };
            if self.row(&volume)?.is_some() {
                continue;
            }
            match if dry_run { Ok(()) } else { self.deactivate_row(&volume) } {
                Ok(()) => report.stray_devices.push(device),
                Err(error) => report.failed.push((device, error)),
            }
        }
        Ok(())
    }
}
