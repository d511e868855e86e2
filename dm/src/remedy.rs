//! What a user does about an error, as data. The caller of this crate has the words, because only the caller knows its
//! commands.

use crate::error::Error;

/// The function of this crate that a user needs after an error. What other programs do is in the error's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// [`Pool::create`](crate::Pool::create).
    CreatePool,
    /// [`Pool::create`](crate::Pool::create) on block devices instead of loop files.
    GiveDevices,
    /// [`Pool::create_overwriting`](crate::Pool::create_overwriting), which destroys what is on the devices.
    Overwrite,
    /// [`Pool::reconcile`](crate::Pool::reconcile) as a dry run, which says what differs.
    Compare,
    /// [`Compare`](Self::Compare), and then [`Pool::reconcile_by_force`](crate::Pool::reconcile_by_force), which goes on with
    /// the pool as it is.
    CompareThenForce,
    /// [`Pool::reconcile`](crate::Pool::reconcile).
    Reconcile,
    /// [`Pool::repair`](crate::Pool::repair), which works on a copy.
    Repair,
    /// [`Pool::shut_down`](crate::Pool::shut_down).
    Deactivate,
    /// [`Pool::shut_down`](crate::Pool::shut_down) once the pool has no users, and then [`Pool::open`](crate::Pool::open),
    /// which checks the metadata.
    ActivateAnew,
    /// [`Pool::grow`](crate::Pool::grow) without sizes, which takes the sizes that the devices have now.
    TakeNewSize,
    /// [`Pool::grow`](crate::Pool::grow), or [`Pool::delete`](crate::Pool::delete) of volumes.
    MakeRoom,
    /// [`Pool::delete`](crate::Pool::delete) of volumes.
    DeleteVolumes,
}

impl Error {
    /// What a user does about the error; `None` if no function of this crate helps.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            Self::NoPool { .. } => Remedy::CreatePool,
            Self::NoRoom { .. } | Self::NoLoop { .. } => Remedy::GiveDevices,
            Self::Signature { .. } => Remedy::Overwrite,
            Self::ForeignMetadata { .. } => Remedy::Compare,
            Self::DamagedMetadata { .. } => Remedy::Repair,
            Self::RepairActive { .. } => Remedy::Deactivate,
            Self::GrowDevices { .. } => Remedy::TakeNewSize,
            Self::Full { .. } | Self::TooSmall { .. } => Remedy::MakeRoom,
            Self::Stuck { .. } => Remedy::ActivateAnew,
            Self::Transaction { .. } | Self::LostVolume { .. } => Remedy::CompareThenForce,
            Self::NoThinId { .. } => Remedy::DeleteVolumes,
            Self::Unfinished { .. } | Self::SnapshotReserved { .. } => Remedy::Reconcile,
            _ => return None,
        })
    }
}
