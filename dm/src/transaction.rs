//! One change of a pool: intent, act; the caller records the result.
//!
//! The intent (a row in phase creating, and the pool's next transaction id) is on the disk before the pool is touched. Then the
//! pool takes the transaction id by compare-and-swap, and only then the change. So a pool that is not the store's (another copy
//! of either, or another writer) refuses before anything is done to it, and after a crash every change that may have happened
//! has a row.
//!
//! A deletion is checked in the same way, and spares the swap, which is a commit of the pool's metadata: a thin id gets another
//! owner only by a creation, and that moves the transaction id.

use nix::errno::Errno;

use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::{DevNumber, Device, KernelError};
use crate::lock::Lock;
use crate::names::ThinId;
use crate::pool::Pool;
use crate::status::{PoolMode, StatusLine, Working};
use crate::store::Writer;

/// A recorded intent: the pool, which is this device, is to go from one transaction to the next.
#[derive(Debug)]
#[must_use]
pub(crate) struct Intent {
    pub(crate) pool: DevNumber,
    from: u64,
    to: u64,
}

impl Pool {
    /// Records an intent to make something, together with the pool's next transaction id, if there is room. The caller holds the
    /// pool's lock until it has acted.
    pub(crate) fn intend<T>(
        &self,
        lock: &Lock,
        record: impl FnOnce(&Writer<'_>, u64) -> Result<T, Error>,
    ) -> Result<(Intent, T), Error> {
        let (device, working) = self.changeable(lock)?;
        let from = self.check_room(lock, working)?.transaction_id;
        self.record(from, |w| {
            let to = from + 1;
            let value = record(w, to)?;
            w.set_transaction_id(&self.config.name, to)?;
            Ok((Intent { pool: device.number, from, to }, value))
        })
    }

    /// Records an intent to delete something.
    pub(crate) fn intend_deletion<T>(
        &self,
        lock: &Lock,
        record: impl FnOnce(&Writer<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.record(self.changeable(lock)?.1.transaction_id, record)
    }

    /// Writes to the store if it still has this pool, and is at the pool's transaction. While the lock was waited for the pool may
    /// have been destroyed, and another made under its name.
    fn record<T>(
        &self,
        kernel: u64,
        record: impl FnOnce(&Writer<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let name = &self.config.name;
        let recorded = self.store.write(|w| {
            let store = w
                .pool(name)?
                .filter(|row| row.is_made() && row.uuid == self.identity.uuid)
                .ok_or_else(|| Error::NoPool {
                    name: name.clone(),
                    state_dir: self.config.state_dir.clone(),
                })?
                .transaction_id;
            // The store is one ahead if the last writer died between its intent and its first message.
            if store != kernel && Some(store) != kernel.checked_add(1) {
                return Err(Error::Transaction { name: name.clone(), kernel, store });
            }
            record(w)
        })?;
        step("intent recorded");
        Ok(recorded)
    }

    /// Moves the pool to the intent's transaction, then changes it. The outer error says that nothing was changed.
    pub(crate) fn act(
        &self,
        intent: Intent,
        message: &str,
    ) -> Result<Result<(), KernelError>, Error> {
        let Intent { from, to, .. } = intent;
        self.kernel.message(&self.identity, &format!("set_transaction_id {from} {to}")).map_err(
            |source| Error::SetTransaction { name: self.config.name.clone(), from, to, source },
        )?;
        step("transaction set");
        let answer = self.kernel.message(&self.identity, message);
        step("pool changed");
        Ok(answer)
    }

    /// [`act`](Self::act) for a message that makes `id`. A thin id of the pool that no row owns (the store is older than the
    /// pool) is deleted first: the store just said that it is free.
    pub(crate) fn act_making(
        &self,
        intent: Intent,
        id: ThinId,
        message: &str,
    ) -> Result<Result<(), KernelError>, Error> {
        match self.act(intent, message)? {
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                tracing::warn!(pool = %self.config.name, %id, "the pool holds a thin id that the store does not know; deleting it");
                let again = self
                    .kernel
                    .message(&self.identity, &format!("delete {id}"))
                    .and_then(|()| self.kernel.message(&self.identity, message));
                Ok(again)
            }
            answer => Ok(answer),
        }
    }

    /// [`working`](Self::working), after a growth where the pool has no metadata block left. The kernel shows such a pool as
    /// read-only without a need for a check, and takes changes again once the metadata is larger (`maybe_resize_metadata_dev`
    /// in dm-thin.c).
    fn changeable(&self, lock: &Lock) -> Result<(Device, Working), Error> {
        let (device, line) = self.running()?;
        match &line {
            StatusLine::Working(working)
                if working.mode == PoolMode::ReadOnly
                    && !working.needs_check
                    && self.is_low(working.metadata) =>
            {
                match self.grow_if_low(lock, working)? {
                    true => self.working(),
                    false => Err(self.full("metadata", working.metadata)),
                }
            }
            _ => self.usable(device, line),
        }
    }

    /// The pool's device and its figures, if the kernel lets the pool be changed.
    pub(crate) fn working(&self) -> Result<(Device, Working), Error> {
        let (device, line) = self.running()?;
        self.usable(device, line)
    }

    fn usable(&self, device: Device, line: StatusLine) -> Result<(Device, Working), Error> {
        let stuck = |mode| Err(Error::Stuck { name: self.config.name.clone(), mode });
        match line {
            StatusLine::Working(working) if working.mode == PoolMode::ReadOnly => {
                stuck(PoolMode::ReadOnly)
            }
            StatusLine::Working(working) => Ok((device, working)),
            StatusLine::Broken(_) => stuck(PoolMode::Fail),
        }
    }

    /// Refuses a pool that is too full; one on loop files grows first, if it can.
    fn check_room(&self, lock: &Lock, working: Working) -> Result<Working, Error> {
        let working = match self.grow_if_low(lock, &working)? {
            true => self.working()?.1,
            false => working,
        };
        for (what, blocks) in [("data", working.data), ("metadata", working.metadata)] {
            if self.is_low(blocks) {
                return Err(self.full(what, blocks));
            }
        }
        Ok(working)
    }
}
