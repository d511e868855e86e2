//! Devices of deleted snapshots that somebody still uses: a bound, so that starts and ends of containers do not add up.
//!
//! A container can send a descriptor of its root to another container. Each end of it then leaves a device without blocks, with
//! a mounted file system, in the kernel's memory, until the other container closes the descriptor (`deferred.rs` of
//! `sharedroot-dm`). The engine's rootfs leaves nothing of this kind.

use sharedroot_dm::{Lingering, VolumeName};

use crate::bases::Bases;
use crate::error::RootfsError;
use crate::not_shared::NotShared;

impl Bases {
    /// Refuses a new snapshot while an earlier one of the same container is still in use, or too many of others. An engine that
    /// restarts a container can give it a new ID each time (Kubernetes).
    ///
    /// # Errors
    /// [`NotShared::StillInUse`], [`NotShared::ManyInUse`], [`RootfsError::Dm`].
    pub(super) fn check_lingering(&self, volume: &VolumeName) -> Result<(), RootfsError> {
        let lingering = self.pool()?.lingering()?;
        if let Some(own) = lingering.iter().find(|one| one.was.as_ref() == Some(volume)) {
            return Err(NotShared::StillInUse { users: own.users() }.into());
        }
        match Lingering::too_many(&lingering) {
            Some((count, users)) => Err(NotShared::ManyInUse { count, users }.into()),
            None => Ok(()),
        }
    }
}
