//! One transaction of a pool: intent, act. The caller records the result.
//!
//! The intent is a row in phase creating, and the pool's next transaction id. It is on the disk before the pool changes. Then
//! the pool gets the new transaction id by compare-and-swap (thin-provisioning.rst, "set_transaction_id"), and after that the
//! change. So if pool and store do not belong together, because one is an older copy or another program writes the pool, the
//! swap fails before anything has changed. After a crash every change that may have happened has a row.
//!
//! A deletion compares the transaction ids as well, but does not swap them, because a swap costs a commit of the pool's
//! metadata. That is safe: only a creation gives a thin id a new owner, and a creation swaps.

use nix::errno::Errno;

use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::{DevNumber, Device, KernelError};
use crate::lock::Lock;
use crate::names::ThinId;
use crate::pool::Pool;
use crate::status::{PoolMode, StatusLine, Working};
use crate::store::Writer;

/// A recorded intent: the pool with this device is to go from the transaction `from` to the transaction `to`.
#[derive(Debug)]
#[must_use]
pub(crate) struct Intent {
    pub(crate) pool: DevNumber,
    from: u64,
    to: u64,
}

impl Pool {
    /// Records an intent to create something, together with the pool's next transaction id. The caller holds the pool's lock
    /// until it has acted.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Stuck`], [`Error::Transaction`], or the store cannot be written.
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

    /// Records an intent to delete something. The caller holds the pool's lock until it has acted.
    ///
    /// # Errors
    /// As [`intend`](Self::intend), without [`Error::Full`].
    pub(crate) fn intend_deletion<T>(
        &self,
        lock: &Lock,
        record: impl FnOnce(&Writer<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.record(self.changeable(lock)?.1.transaction_id, record)
    }

    /// Writes to the store, if the store still has this pool and the pool's transaction id. While this process waited for the
    /// lock, another process may have destroyed the pool and created another pool with the same name.
    fn record<T>(
        &self,
        kernel: u64,
        record: impl FnOnce(&Writer<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let name = &self.config.name;
        let recorded = self.store.write(|w| {
            let store = w
                .pool(name)?
                .filter(|row| row.is_complete() && row.uuid == self.identity.uuid)
                .ok_or_else(|| Error::NoPool {
                    name: name.clone(),
                    state_dir: self.config.state_dir.clone(),
                })?
                .transaction_id;
            // The store is one transaction ahead if the last writer died between its intent and its first message.
            if store != kernel && Some(store) != kernel.checked_add(1) {
                return Err(Error::Transaction { name: name.clone(), kernel, store });
            }
            record(w)
        })?;
        step("intent recorded");
        Ok(recorded)
    }

    /// Moves the pool to the intent's transaction, and then sends `message`, which changes the pool. The outer error means that
    /// nothing was changed; the inner result is the answer to `message`.
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

    /// [`act`](Self::act) for a message that creates the thin id `id`. If the pool has this id already, the store is older than
    /// the pool, and no row owns the id. Then the id is deleted first.
    pub(crate) fn act_creating(
        &self,
        intent: Intent,
        id: ThinId,
        message: &str,
    ) -> Result<Result<(), KernelError>, Error> {
        match self.act(intent, message)? {
            Err(error) if error.errno() == Some(Errno::EEXIST) => {
                tracing::warn!(pool = %self.config.name, %id, "the pool has a thin id that the store does not know; deleting the thin id");
                let again = self
                    .kernel
                    .message(&self.identity, &format!("delete {id}"))
                    .and_then(|()| self.kernel.message(&self.identity, message));
                Ok(again)
            }
            answer => Ok(answer),
        }
    }

    /// [`working`](Self::working), but a pool without a free metadata block grows first. The kernel shows such a pool as
    /// read-only without `needs_check`, and allows changes again when the metadata is larger (`maybe_resize_metadata_dev` in
    /// dm-thin.c).
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

    /// The pool's device and its status.
    ///
    /// # Errors
    /// [`Error::Stuck`] if the kernel does not let the pool be changed.
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

    /// Refuses a pool that is too full. A pool on loop files grows first, if its file system has room.
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
