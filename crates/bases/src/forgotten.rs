//! The snapshots that no record names: a reboot deletes the records, but not the pool.
//!
//! `gc` writes no changes back. An overlay can be written only where it is mounted, and the engine that mounted it may be using
//! it: a container may run on the engine's rootfs, and then the snapshot is older than the overlay. Only a start of the
//! container itself knows that nothing runs, so only a start writes back (`earlier.rs`).

use sharedroot_dm::{Reconcile, Volume, VolumeName};

use crate::bases::Bases;
use crate::containers::Containers;
use crate::error::RootfsError;
use crate::snapshot_lock::SnapshotLock;

/// The result for a snapshot that no record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Deleted: the engine has removed the container, or the snapshot has nothing to give back.
    Gone,
    /// Kept for the next start of the container, which its engine still has.
    Kept,
    /// Kept as the root of the container's next start: the snapshot has files that the engine's overlay cannot hold.
    Root,
    /// The container is being started, or was started meanwhile.
    InUse,
}

/// The fate of each snapshot, or the error.
pub type Fates = Vec<(VolumeName, Result<Fate, RootfsError>)>;

/// Deletes the idle snapshots that no record names. A snapshot with changes that its container's engine may still want stays.
/// After an error with one snapshot, the others still get their turn.
///
/// # Errors
/// [`RootfsError`] if these snapshots cannot be found.
pub fn delete_forgotten(
    bases: &Bases,
    containers: &dyn Containers,
    how: Reconcile,
) -> Result<Fates, RootfsError> {
    // This order matters: a start writes its record first, then the note and the files beside it, and then takes the snapshot.
    let mut stale = bases.notes().volumes_with_files()?;
    let volumes = bases.known_pool()?.volumes()?;
    stale.retain(|name| volumes.iter().all(|volume| volume.name != *name));
    let idle = |v: &Volume| v.name.is_snapshot() && v.is_ready() && !v.active;
    let mut idle: Vec<_> = volumes.into_iter().filter(idle).map(|v| v.name).collect();
    for volume in containers.snapshots().map_err(RootfsError::Containers)? {
        if !bases.is_left_over(&volume) {
            idle.retain(|name| *name != volume);
            stale.retain(|name| *name != volume);
        }
    }
    let mut fates = Fates::new();
    for name in stale.into_iter().filter(|_| how == Reconcile::Apply) {
        if let Err(error) = bases.remove_stale(&name, containers) {
            fates.push((name, Err(error)));
        }
    }
    fates.extend(idle.into_iter().map(|name| {
        let fate = bases.fate(&name, containers, how).map_err(RootfsError::naming_users);
        (name, fate)
    }));
    Ok(fates)
}

impl Bases {
    fn fate(
        &self,
        name: &VolumeName,
        containers: &dyn Containers,
        how: Reconcile,
    ) -> Result<Fate, RootfsError> {
        if how == Reconcile::DryRun {
            return self.fate_by_note(name);
        }
        let Some(lock) = self.try_lock_snapshot(name)? else { return Ok(Fate::InUse) };
        // A start may have begun and ended since the records were read.
        if self.is_recorded(name, containers)? {
            return Ok(Fate::InUse);
        }
        let fate = self.fate_by_note(name)?;
        if fate == Fate::Gone {
            self.delete_with_note(&lock, containers)?;
        }
        Ok(fate)
    }

    fn fate_by_note(&self, name: &VolumeName) -> Result<Fate, RootfsError> {
        let note = self.notes().read(name)?.filter(|note| !note.is_obsolete());
        Ok(match note {
            Some(note) if note.only_here.is_some() => Fate::Root,
            Some(_) => Fate::Kept,
            None => Fate::Gone,
        })
    }

    /// Removes the files of a volume that does not exist. If a start of the container has begun meanwhile, its files stay.
    fn remove_stale(
        &self,
        name: &VolumeName,
        containers: &dyn Containers,
    ) -> Result<(), RootfsError> {
        let Some(_lock) = self.try_lock_snapshot(name)? else { return Ok(()) };
        if self.is_recorded(name, containers)? || self.known_pool()?.volume(name)?.is_some() {
            return Ok(());
        }
        self.notes().remove_files(name)
    }

    /// The caller holds the lock. Otherwise a start in between would lose its record and its note, and then what its container
    /// writes.
    fn delete_with_note(
        &self,
        lock: &SnapshotLock,
        containers: &dyn Containers,
    ) -> Result<(), RootfsError> {
        let name = lock.volume();
        self.active_pool()?.delete(name)?;
        containers.forget(name).map_err(RootfsError::Containers)?;
        self.notes().remove(name)
    }

    /// Deletes the snapshot of a container that has ended, including the changes that only the snapshot holds.
    ///
    /// # Errors
    /// [`RootfsError::NoSnapshot`]; [`RootfsError::Starting`]; [`RootfsError::Dm`] for a snapshot that is in use.
    pub fn drop_snapshot(
        &self,
        name: &VolumeName,
        containers: &dyn Containers,
    ) -> Result<(), RootfsError> {
        let none = || RootfsError::NoSnapshot { volume: name.clone() };
        if !name.is_snapshot() {
            return Err(none());
        }
        let lock = self.try_lock_snapshot(name)?;
        let lock = lock.ok_or_else(|| RootfsError::Starting { volume: name.clone() })?;
        if self.active_pool()?.volume(name)?.is_none() {
            return Err(none());
        }
        let deleted = self.delete_with_note(&lock, containers);
        drop(lock);
        deleted.map_err(RootfsError::naming_users)
    }

    /// Whether a record of a container that its engine still has names the snapshot.
    fn is_recorded(
        &self,
        name: &VolumeName,
        containers: &dyn Containers,
    ) -> Result<bool, RootfsError> {
        let recorded = containers.snapshots().map_err(RootfsError::Containers)?;
        Ok(recorded.contains(name) && !self.is_left_over(name))
    }

    /// Whether a record's snapshot belongs to a container that its engine has removed although `delete` failed. If the note
    /// cannot be read, the answer is no, and the record keeps the snapshot.
    fn is_left_over(&self, volume: &VolumeName) -> bool {
        let note = self.notes().read(volume).ok().flatten();
        note.is_some_and(|note| note.is_obsolete())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use sharedroot_dm::{Bytes, PoolConfig};
    use sharedroot_format::Lease;

    use super::*;
    use crate::config::Config;
    use crate::containers::ContainersError;
    use crate::note::Note;

    fn bases(dir: &Path) -> Bases {
        let (state, run) = (dir.join("state"), dir.join("run"));
        fs::create_dir_all(&run).unwrap();
        let pool = PoolConfig::on_loop("test".parse().unwrap(), state, run);
        Bases::new(Config {
            pool,
            base_size: Bytes::kib(1 << 20),
            base_wait: true,
            shared_label: None,
        })
    }

    /// Writes a note whose upper directory is `upper`.
    fn write_note(bases: &Bases, volume: &VolumeName, upper: &Path) {
        let note = Note {
            id: "c1".to_owned(),
            root_path: "/merged".into(),
            upper: upper.to_owned(),
            base: "ab".repeat(32).parse().unwrap(),
            label: None,
            given_back: false,
            overlaid: false,
            notice: None,
            only_here: None,
            replayed: false,
            upper_then: None,
        };
        bases.notes().write(volume, &note).unwrap();
    }

    /// Records that name snapshots. No start may begin while the records are read.
    struct Recorded<'a>(&'a Bases, Vec<VolumeName>, VolumeName);

    impl Containers for Recorded<'_> {
        fn leases(&self) -> Result<Vec<Lease>, ContainersError> {
            unreachable!()
        }

        fn snapshots(&self) -> Result<Vec<VolumeName>, ContainersError> {
            assert!(self.0.try_lock_snapshot(&self.2)?.is_none(), "a start could begin");
            Ok(self.1.clone())
        }

        fn forget(&self, snapshot: &VolumeName) -> Result<(), ContainersError> {
            panic!("the record of {snapshot} is removed")
        }
    }

    #[test]
    fn what_a_start_has_written_is_not_removed_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let bases = bases(dir.path());
        let volume = VolumeName::of_snapshot(Path::new("/run/moby"), "c1");
        let (store, upper) = (dir.path().join("store"), dir.path().join("store/c1/diff"));
        fs::create_dir(&store).unwrap();
        // The note is of a removed container, and the new start has not written its own note yet.
        write_note(&bases, &volume, &upper);
        let none = Recorded(&bases, Vec::new(), volume.clone());
        let start = bases.lock_snapshot(&volume).unwrap();
        assert_eq!(bases.fate(&volume, &none, Reconcile::Apply).unwrap(), Fate::InUse);
        bases.remove_stale(&volume, &none).unwrap();
        let dropped = bases.drop_snapshot(&volume, &none);
        assert!(matches!(dropped, Err(RootfsError::Starting { .. })), "{dropped:?}");
        // The start has got its root after `gc` read the records, and before `gc` looks at this snapshot.
        fs::create_dir_all(&upper).unwrap();
        write_note(&bases, &volume, &upper);
        drop(start);
        let recorded = Recorded(&bases, vec![volume.clone()], volume.clone());
        assert_eq!(bases.fate(&volume, &recorded, Reconcile::Apply).unwrap(), Fate::InUse);
        bases.remove_stale(&volume, &recorded).unwrap();
        assert!(bases.notes().read(&volume).unwrap().is_some());
        // A note without a record belongs to a container that ended with the host.
        assert_eq!(bases.fate(&volume, &none, Reconcile::Apply).unwrap(), Fate::Kept);
    }

    #[test]
    fn a_start_waits_until_its_snapshot_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let bases = bases(dir.path());
        let [volume, other] =
            ["c1", "c2"].map(|id| VolumeName::of_snapshot(Path::new("/run/moby"), id));
        let given_up = bases.try_lock_snapshot(&volume).unwrap().unwrap();
        let _other = bases.try_lock_snapshot(&other).unwrap().unwrap();
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let lock = bases.lock_snapshot(&volume).unwrap();
                tell.send(()).unwrap();
                drop(lock);
            });
            told.recv_timeout(Duration::from_millis(200)).unwrap_err();
            drop(given_up);
            told.recv().unwrap();
        });
    }
}
