//! What a user does about an error, as a fact. The words are those of who calls this crate.

use crate::error::Error;

/// What a user does about an error, by means of this crate. What is done by other programs is in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// [`Pool::create`](crate::Pool::create).
    CreatePool,
    /// The same on block devices.
    GiveDevices,
    /// A dry run of [`Pool::reconcile`](crate::Pool::reconcile) tells what is wrong.
    Compare,
    /// The same; and [`Pool::reconcile_by_force`](crate::Pool::reconcile_by_force) goes on with the pool as it is.
    CompareThenForce,
    /// [`Pool::reconcile`](crate::Pool::reconcile).
    Reconcile,
    /// [`Pool::repair`](crate::Pool::repair), which works on a copy.
    Repair,
    /// [`Pool::deactivate`](crate::Pool::deactivate).
    Deactivate,
    /// Without users the pool is deactivated and opened again, which checks it.
    ActivateAnew,
    /// The pool takes the new size of its devices: [`Pool::grow`](crate::Pool::grow).
    TakeNewSize,
    /// The pool is made larger, or volumes are deleted.
    MakeRoom,
    /// Volumes are deleted.
    DeleteVolumes,
}

impl Error {
    /// What a user does about it, if that is done with this crate.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        Some(match self {
            Self::NoPool { .. } => Remedy::CreatePool,
            Self::NoRoom { .. } | Self::NoLoop { .. } => Remedy::GiveDevices,
            Self::ForeignMetadata { .. } => Remedy::Compare,
            Self::Unsound { .. } => Remedy::Repair,
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
