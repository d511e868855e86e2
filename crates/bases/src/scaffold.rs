//! Scaffolds: read-only overlays that add missing mount points above a base.
//!
//! There is one scaffold for each base and set of missing mount points. It is mounted below the run directory, and all
//! containers that need it share it and hold a lease of it. Its files are the base's own files, and share their page cache.
//! When the last container ends, the scaffold is unmounted. A container that runs is not affected, because it has a bind of its
//! own.

use std::fs::DirBuilder;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sha2::{Digest, Sha256};
use sharedroot_dm::Reconcile;
use sharedroot_format::{BaseKey, ScaffoldName, Use};
use sharedroot_sys::mount::{self, Detached};

use super::base::MountedBase;
use super::base_lock::BaseLock;
use super::labels::{context, label_at};
use super::missing::{Kind, Missing};
use super::skeleton::Skeleton;
use crate::bases::Bases;
use crate::containers::ContainersError;
use crate::entries::entries;
use crate::error::{RootfsError, file};

/// The name of the scaffold that adds `missing`. The same set always gives the same name.
fn name_of(missing: &[Missing]) -> ScaffoldName {
    let mut hash = Sha256::new();
    for Missing { path, kind } in missing {
        hash.update(match kind {
            Kind::Directory => b"d",
            Kind::File => b"f",
        });
        hash.update(path.as_os_str().as_bytes());
        hash.update([0]);
    }
    ScaffoldName::of_digest(hash.finalize().into())
}

/// All scaffolds.
#[derive(Debug, Clone, Copy)]
pub struct Scaffolds<'b>(&'b Bases);

impl Bases {
    /// The scaffolds above bases.
    #[must_use]
    pub fn scaffolds(&self) -> Scaffolds<'_> {
        Scaffolds(self)
    }
}

impl Scaffolds<'_> {
    /// The directory of all scaffolds.
    pub(crate) fn dir(&self) -> PathBuf {
        self.0.run_dir().join("scaffold")
    }

    fn dir_of(&self, key: &BaseKey) -> PathBuf {
        self.dir().join(key.to_string())
    }

    /// A bind of the scaffold that adds `missing` to the base. Mounts the scaffold if this is its first container. `intend`
    /// records that the container uses the scaffold: from then on nobody unmounts it.
    ///
    /// For a scaffold that is mounted already this takes one statx(2) and one open_tree(2), and no lock.
    ///
    /// # Errors
    /// [`RootfsError`]; an unfinished scaffold is removed.
    pub(crate) fn above(
        &self,
        base: &MountedBase<'_>,
        below: &Detached,
        missing: &[Missing],
        intend: impl FnOnce(&ScaffoldName) -> Result<(), ContainersError>,
    ) -> Result<(Detached, ScaffoldName), RootfsError> {
        Skeleton::check(missing)?;
        let name = name_of(missing);
        intend(&name).map_err(RootfsError::Containers)?;
        let at = self.dir_of(base.key).join(name.to_string());
        if let Some(device) = mount::device_mounted_at(&at)
            && let Ok(bound) = mount::bind(&at)
            && bound.device() == Some(device)
        {
            return Ok((bound, name));
        }
        let skeleton = Skeleton::of(missing, below.as_fd())?;
        // While this process has the base's lock, nobody mounts or unmounts a scaffold of the base.
        let lock = self.0.lock_base(base.key)?;
        if mount::device_mounted_at(&at).is_none() {
            base.check(&lock)?;
            let label = label_at(&base.at)?;
            let options: Vec<_> = label.iter().map(context).collect();
            let raised = skeleton.raise(&[&base.at], &self.dir(), &options, &lock)?;
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&at);
            made.map_err(file("create", &at))?;
            raised.attach(&at)?.keep();
        }
        Ok((mount::bind(&at)?, name))
    }

    /// Unmounts a scaffold if no lease of it is left.
    ///
    /// # Errors
    /// [`RootfsError`]; `gc` tries again.
    pub fn release(&self, key: &BaseKey, name: &ScaffoldName) -> Result<(), RootfsError> {
        if !self.has_users(key, name)? {
            self.take_down_unused(key, name)?;
        }
        Ok(())
    }

    /// Unmounts the scaffolds that no lease names: a `delete` that died left them. Returns their names, each with its base.
    ///
    /// # Errors
    /// The first [`RootfsError`].
    pub fn take_down_forgotten(
        &self,
        how: Reconcile,
    ) -> Result<Vec<(BaseKey, ScaffoldName)>, RootfsError> {
        let mut forgotten = Vec::new();
        for key in listed::<BaseKey>(&self.dir())? {
            for name in listed(&self.dir_of(&key))? {
                let taken = match how {
                    Reconcile::DryRun => !self.has_users(&key, &name)?,
                    Reconcile::Apply => self.take_down_unused(&key, &name)?,
                };
                if taken {
                    forgotten.push((key.clone(), name));
                }
            }
        }
        Ok(forgotten)
    }

    fn has_users(&self, key: &BaseKey, name: &ScaffoldName) -> Result<bool, RootfsError> {
        Ok(self.0.leases().any(key, &Use::Scaffold(name.clone()))?)
    }

    /// Looks for the users again under the lock, so that nobody can mount the scaffold: a container holds its lease before it
    /// looks for its scaffold.
    fn take_down_unused(&self, key: &BaseKey, name: &ScaffoldName) -> Result<bool, RootfsError> {
        let lock = self.0.lock_base(key)?;
        if self.has_users(key, name)? {
            return Ok(false);
        }
        self.take_down(&lock, name)?;
        Ok(true)
    }

    fn take_down(&self, lock: &BaseLock, name: &ScaffoldName) -> Result<(), RootfsError> {
        let of_base = self.dir_of(lock.key());
        let at = of_base.join(name.to_string());
        if mount::device_mounted_at(&at).is_some() {
            mount::detach(&at)?;
        }
        let _ = std::fs::remove_dir(&at);
        // This succeeds if the scaffold was the base's last.
        let _ = std::fs::remove_dir(&of_base);
        Ok(())
    }

    /// Unmounts all scaffolds of a base: the device of the base is busy while they are mounted.
    pub(super) fn take_down_all(&self, lock: &BaseLock) -> Result<(), RootfsError> {
        for name in listed(&self.dir_of(lock.key()))? {
            self.take_down(lock, &name)?;
        }
        Ok(())
    }
}

fn listed<T: FromStr>(dir: &Path) -> Result<Vec<T>, RootfsError> {
    entries(dir).map_err(file("list", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_a_set() {
        let one = |path: &str, kind| Missing { path: path.into(), kind };
        let name = |missing: &[Missing]| name_of(missing).to_string();
        let [a, b] = ["/a", "/b"].map(|path| one(path, Kind::Directory));
        let both = name(&[a.clone(), b.clone()]);
        assert_eq!(both.parse(), Ok(name_of(&[a.clone(), b.clone()])));
        for other in [
            vec![],
            vec![a.clone()],
            vec![b.clone()],
            vec![one("/a", Kind::File), b],
            vec![one("/ad/b", Kind::Directory)],
        ] {
            assert_ne!(name(&other), both, "{other:?}");
        }
    }
}
