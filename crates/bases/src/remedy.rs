//! What a user can do about an error of the pool, in words: commands of `sharedroot`.

use sharedroot_dm::{Error, Remedy};

/// The words that follow the error's message, with their semicolon; empty if there is no remedy.
pub(crate) fn words(error: &Error) -> &'static str {
    let Some(remedy) = error.remedy() else { return "" };
    match remedy {
        Remedy::CreatePool => "; make it with `sharedroot pool create`",
        Remedy::GiveDevices => {
            "; or give the pool block devices with `sharedroot pool create --data-dev DEVICE --metadata-dev DEVICE`"
        }
        Remedy::Overwrite => {
            "; if nobody needs it, create the pool with `sharedroot pool create --force`"
        }
        Remedy::Compare => "; see what differs with `sharedroot gc --dry-run`",
        Remedy::CompareThenForce => {
            "; see what differs with `sharedroot gc --dry-run`, and go on with the pool as it is with `sharedroot gc --force`"
        }
        Remedy::Reconcile => "; run `sharedroot gc`",
        Remedy::Repair => "; run `sharedroot pool repair`, which works on a copy",
        Remedy::Deactivate => " with `sharedroot pool deactivate`",
        Remedy::ActivateAnew => {
            "; stop its containers, then run `sharedroot pool deactivate` and `sharedroot pool activate`, which checks it"
        }
        Remedy::TakeNewSize => ", then run `sharedroot pool grow` without sizes",
        Remedy::MakeRoom => {
            "; enlarge it with `sharedroot pool grow`, or delete containers, and unused bases with `sharedroot image rm`"
        }
        Remedy::DeleteVolumes => "; delete containers, and unused bases with `sharedroot image rm`",
    }
}
