//! The labels of roots. A base can be mounted with another label than a new mount would get, because the policy or the
//! configuration has changed since.
//!
//! A file system has one label as long as it is mounted anywhere, and containers share the mount. So a base keeps its label
//! while containers use it, and everything above the base gets that label, too. `gc` unmounts the base when no container uses
//! it, and the next container mounts it with the new label. `create` does not check the label of a mounted base.

use std::path::Path;

use sharedroot_dm::Reconcile;
use sharedroot_format::BaseKey;
use sharedroot_label::{self as label, MountLabel, SharedLabel};
use sharedroot_sys::mount::Setting;

use crate::bases::Bases;
use crate::error::RootfsError;
use crate::not_shared::NotShared;

/// The mount option for the label of all files of a file system. The label belongs to the superblock.
pub(super) fn context(label: &MountLabel) -> Setting<'_> {
    Setting::Value("context", label.as_context())
}

/// The label of the files at `path`, where SELinux is on. This is the label of the mount, whatever the policy or the
/// configuration say now.
pub(super) fn label_at(path: &Path) -> Result<Option<MountLabel>, RootfsError> {
    Ok(label::enabled().then(|| MountLabel::of_file(path)).transpose()?)
}

/// A mounted base with a label that differs from the shared label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mislabelled {
    /// The base.
    pub key: BaseKey,
    /// The label of its mount.
    pub label: MountLabel,
    /// Whether a container uses the base.
    pub used: bool,
}

/// The labels of mounted bases, and of bases that will be mounted.
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
    /// [`RootfsError::SharedLabel`] for the administrator's label, [`NotShared::NoLabel`] for the policy's label.
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

    /// The label for a mount that no container sees. Where the policy names no label the mount has none: no container shares
    /// the base then.
    pub(super) fn for_a_look(&self) -> Result<Option<SharedLabel>, RootfsError> {
        match self.shared() {
            Err(RootfsError::NotShared(NotShared::NoLabel(_))) => Ok(None),
            label => label,
        }
    }

    /// The mounted bases whose label differs from the current shared label.
    ///
    /// # Errors
    /// [`RootfsError`], also if there is no usable shared label now.
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

    /// Unmounts the mislabelled bases that no container uses, and returns all mislabelled bases. A container that is just being
    /// created from such a base fails, or mounts the base again.
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
