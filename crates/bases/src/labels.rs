//! The labels of roots, and bases whose mount has another label than a new one would get: the policy or the configuration
//! changed since.
//!
//! A file system has one label as long as it is mounted anywhere, and containers share it. So a base keeps its label while
//! containers have it, and what is put above it takes that label, too. `gc` unmounts it when no container has it, and the
//! next one mounts it under the new label. `create` on a mounted base asks nothing of this.

use std::path::Path;

use sharedroot_dm::Reconcile;
use sharedroot_format::BaseKey;
use sharedroot_label::{self as label, MountLabel, SharedLabel};
use sharedroot_sys::mount::Setting;

use crate::bases::Bases;
use crate::error::RootfsError;
use crate::not_shared::NotShared;

/// The label of all that is in a file system; it belongs to the superblock.
pub(super) fn context(label: &MountLabel) -> Setting<'_> {
    Setting::Value("context", label.as_context())
}

/// The label of what is mounted at `path`, where SELinux is on: that of the mount, whatever the policy or the configuration
/// say by now.
pub(super) fn label_at(path: &Path) -> Result<Option<MountLabel>, RootfsError> {
    Ok(label::enabled().then(|| MountLabel::of_file(path)).transpose()?)
}

/// A mounted base with another label than the shared one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mislabelled {
    /// The base.
    pub key: BaseKey,
    /// The label of its mount.
    pub label: MountLabel,
    /// Whether a container has it.
    pub used: bool,
}

/// The labels of mounted bases, and of those that are to be mounted.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'b>(&'b Bases);

impl Bases {
    /// The labels of bases.
    #[must_use]
    pub fn labels(&self) -> Labels<'_> {
        Labels(self)
    }
}

impl Labels<'_> {
    /// The label for new mounts of bases, where SELinux is on.
    ///
    /// # Errors
    /// [`RootfsError::SharedLabel`] for what the administrator gave, [`NotShared::NoLabel`] for the policy's.
    pub fn shared(&self) -> Result<Option<SharedLabel>, RootfsError> {
        if !label::enabled() {
            return Ok(None);
        }
        let given = self.0.config().shared_label.as_ref();
        SharedLabel::choose(given).map(Some).map_err(match given {
            Some(_) => RootfsError::SharedLabel,
            None => |error| NotShared::NoLabel(error).into(),
        })
    }

    /// The same for a mount that no container sees: one without a label where the policy names none, for then no container
    /// shares the base meanwhile.
    pub(super) fn for_a_look(&self) -> Result<Option<SharedLabel>, RootfsError> {
        match self.shared() {
            Err(RootfsError::NotShared(NotShared::NoLabel(_))) => Ok(None),
            label => label,
        }
    }

    /// The mounted bases that have another label than the one that is right now.
    ///
    /// # Errors
    /// [`RootfsError`], also where there is no usable shared label now.
    pub fn mislabelled(&self) -> Result<Vec<Mislabelled>, RootfsError> {
        let Some(right) = self.shared()? else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for key in self.0.mounted_bases()? {
            let of_mount = label_at(&self.0.base_mount(&key))?;
            if let Some(label) = of_mount.filter(|label| label != right.as_mount_label()) {
                let used = self.0.leases().any_mount(&key)?;
                all.push(Mislabelled { key, label, used });
            }
        }
        Ok(all)
    }

    /// Unmounts those that no container has, and returns all. A container that was just being
    /// created from one fails, or mounts it anew.
    ///
    /// # Errors
    /// The first [`RootfsError`].
    pub fn unmount_mislabelled(&self, how: Reconcile) -> Result<Vec<Mislabelled>, RootfsError> {
        let all = self.mislabelled()?;
        for base in all.iter().filter(|base| !base.used && how == Reconcile::Apply) {
            self.0.unmount_unused(&base.key)?;
        }
        Ok(all)
    }
}
