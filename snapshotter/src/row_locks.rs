//! One lock for the volume of each row, within this process.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::table::RowId;

/// The locks. A thread that holds the lock of a snapshot of a client takes no lock but that of a committed row whose volume the
/// snapshot shows, and then no other. So no two threads wait for each other.
#[derive(Debug, Default)]
pub struct RowLocks {
    held: Mutex<BTreeSet<RowId>>,
    released: Condvar,
}

/// The lock of a row. Dropping it lets the next thread go on.
#[derive(Debug)]
#[must_use = "dropping it lets others go on"]
pub struct RowLock<'l> {
    locks: &'l RowLocks,
    id: RowId,
}

impl RowLocks {
    /// Waits for the lock of a row.
    pub fn lock(&self, id: RowId) -> RowLock<'_> {
        let mut held = self.held();
        while !held.insert(id) {
            held = self.released.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        RowLock { locks: self, id }
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<RowId>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RowLock<'_> {
    /// The row.
    #[must_use]
    pub fn id(&self) -> RowId {
        self.id
    }
}

impl Drop for RowLock<'_> {
    fn drop(&mut self) {
        self.locks.held().remove(&self.id);
        self.locks.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn one_thread_at_a_time_has_the_lock_of_a_row() {
        let (locks, inside) = (RowLocks::default(), AtomicU32::new(0));
        let counts = [AtomicU32::new(0), AtomicU32::new(0)];
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let row = thread % 2;
                let (locks, inside, count) = (&locks, &inside, &counts[row]);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let lock = locks.lock(RowId::new(row as u64));
                        assert_eq!(lock.id(), RowId::new(row as u64));
                        inside.fetch_add(1, Ordering::SeqCst);
                        let now = count.load(Ordering::SeqCst);
                        std::thread::yield_now();
                        count.store(now + 1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(counts.map(AtomicU32::into_inner), [800, 800]);
        assert!(locks.held().is_empty());
    }
}
