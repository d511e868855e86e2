//! `delete`, and the undo of a `create`: what `create` made is removed.
//!
//! Whoever removes a container has two locks. That of the container keeps other commands on the container away. That of the
//! snapshot keeps `gc` away, which knows no container. A process that a killed `create` left may keep the first lock: `delete`
//! has the engine end that process, and takes the lock then.
//!
//! The lock of the container comes first. Whoever has the lock of the snapshot does not wait for that of the container.

use std::time::Duration;

use sharedroot_bases::{SnapshotLock, release_private};
use sharedroot_engine::{Deletion, Engine, EngineError};
use sharedroot_sys::chain::chain;
use sharedroot_sys::step::step;

use super::story::GivenBack;
use super::{Container, LifecycleError, engines, tell};
use crate::record::{Lock, Record, Rootfs};

/// How long a command waits for another one that works on the container's root.
const PATIENCE: Duration = Duration::from_secs(10);

impl Container {
    /// Waits for the lock of the container's snapshot, whether there is such a snapshot or not.
    ///
    /// # Errors
    /// [`LifecycleError::RootInUse`].
    pub(super) fn lock_root(&self, verb: &'static str) -> Result<SnapshotLock, LifecycleError> {
        let lock = self.bases.lock_snapshot_within(&self.snapshot(), PATIENCE)?;
        lock.ok_or_else(|| self.root_in_use(verb))
    }

    pub(super) fn root_in_use(&self, verb: &'static str) -> LifecycleError {
        LifecycleError::RootInUse { verb, id: self.id.clone(), seconds: PATIENCE.as_secs() }
    }

    /// Removes the rootfs and the record. A part that is already gone is no error. Returns what was written back, if
    /// there was a snapshot.
    ///
    /// This process has the lock of the container since before it saw that the engine has no such container.
    pub(super) fn release(
        &self,
        _container: &Lock,
        _root: &SnapshotLock,
    ) -> Result<Option<GivenBack>, LifecycleError> {
        let _step = step("take the rootfs and the record away");
        let record = self.place.read()?;
        let was_there = record.is_some();
        let mut written = None;
        if let Some(Record { rootfs: Rootfs::Private { volume, mount_point, .. }, .. }) = &record {
            written = Some(release_private(&self.bases, volume, mount_point)?);
        }
        // This comes before the removal of the record and of its lock: afterwards another container may have the ID.
        // `gc` removes what is left.
        if let Some(record) = &record
            && let Err(error) = self.give_lease_back(&record.rootfs)
        {
            tracing::warn!("{}", chain(&error));
        }
        self.place.remove()?;
        if let Some(Record { rootfs: Rootfs::Shared { base, scaffold: Some(name) }, .. }) = record
            && let Err(error) = self.bases.scaffolds().release(&base, &name)
        {
            tracing::warn!("{}", chain(&error));
        }
        Ok(was_there.then_some(GivenBack(written)))
    }

    /// Undoes what a failed `create` made, which has `lock`. The first error is the one to report, so an error here is a
    /// warning.
    pub(super) fn undo(&self, lock: &Lock) {
        if !lock.is_held() {
            tracing::debug!("undo create {}: another command deletes it", self.id);
            return;
        }
        let undone =
            self.lock_root("undo the create of").and_then(|root| self.release(lock, &root));
        if let Err(error) = undone {
            tracing::warn!("undo create {}: {}", self.id, chain(&error));
        }
    }

    /// `delete`: removes exactly what `create` made. Returns the exit status.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn delete(&self, asked: Deletion) -> Result<u8, LifecycleError> {
        let waits = step("wait for the container's lock");
        let lock = self.place.wait()?;
        drop(waits);
        self.delete_locked(lock, &self.engine, asked)
    }

    /// Deletes the container of the record, of which this process has waited for the lock.
    pub(super) fn delete_locked(
        &self,
        mut lock: Lock,
        engine: &Engine,
        asked: Deletion,
    ) -> Result<u8, LifecycleError> {
        let waits = step("wait for the lock of the container's snapshot");
        let mut root = self.lock_root("delete")?;
        drop(waits);
        let mut status = self.end(&lock, engine, asked)?;
        if status == 0 && !lock.is_held() {
            // The lock's holder may have ended with the container, or it is a `create` that undoes what it made, and waits for
            // the lock of the snapshot. A `create` that goes on would remove, when it fails, what a later `create` of the ID
            // makes; so the ID is its own until it has ended.
            drop(root);
            lock = self.place.wait_for_any()?;
            if lock.is_others() {
                return Err(LifecycleError::Busy { id: self.id.clone() });
            }
            if !lock.is_held() {
                return Ok(0);
            }
            root = self.lock_root("delete")?;
            // A `create` may have made a container after `end` saw that there was none, and has given up the lock.
            status = self.end_again(&lock, engine, asked)?;
        }
        if status != 0 {
            return Ok(status);
        }
        // Docker calls `delete` twice.
        if let Some(deleted) = self.release(&lock, &root)? {
            tell(format_args!("deleted: {deleted}"));
        }
        Ok(0)
    }

    /// Has the engine delete a container that was made after [`Self::end`]. Usually there is none.
    fn end_again(
        &self,
        lock: &Lock,
        known: &Engine,
        asked: Deletion,
    ) -> Result<u8, LifecycleError> {
        let other = self.other_engine(known)?;
        let engine = other.as_ref().unwrap_or(known);
        end_orphan(lock, engine);
        if engine.exists()? { self.end(lock, engine, asked) } else { Ok(0) }
    }

    /// Has the engine delete the container. Returns its exit status.
    fn end(&self, lock: &Lock, known: &Engine, asked: Deletion) -> Result<u8, LifecycleError> {
        let forced = asked == Deletion::Forced;
        let other = self.other_engine(known)?;
        let engine = other.as_ref().unwrap_or(known);
        end_orphan(lock, engine);
        match engine {
            Engine::Embedded(embedded) => match engines(|| embedded.delete(asked)) {
                // A `create` or `delete` that was killed leaves a record without a container.
                Err(EngineError::NotFound { .. }) if forced || self.place.read()?.is_some() => {
                    Ok(0)
                }
                deleted => Ok(deleted.map(|()| 0)?),
            },
            // Another command of this container goes on, and the delegate would end what a `create` makes.
            Engine::Delegate(_) if lock.is_others() && !forced => Err(self.root_in_use("delete")),
            Engine::Delegate(delegate) => {
                let status = engines(|| delegate.delete(asked))?;
                // crun fails if the `run` of the container deletes the container at the same time.
                let gone = forced && !delegate.has_traces();
                Ok(if gone { 0 } else { status })
            }
        }
    }
}

/// Ends the delegate of a `create` that was killed. Without the lock of the container there may be no such delegate: the process
/// that is noted is the child of a `create` that goes on.
fn end_orphan(lock: &Lock, engine: &Engine) {
    if let (Engine::Delegate(delegate), true) = (engine, lock.is_held()) {
        delegate.end_orphan();
    }
}
