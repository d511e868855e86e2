//! The volumes of the snapshotter that nobody needs, and the snapshots whose volumes are gone.
//!
//! The snapshotter's table is the truth. containerd removes from it what it has forgotten, and `sharedrootd` deletes the volume of each
//! removed snapshot. So a volume without a snapshot is left only where `sharedrootd` does not run.

use sharedroot_bases::{Bases, Needless, RootfsError, SnapshotLeftovers};
use sharedroot_dm::VolumeName;

use super::told::{Done, Kind, Told};
use crate::admin::progress::Progress;

/// How many lost snapshots have a line for people. After the loss of a pool all of them are lost.
const MOST_LINES: usize = 10;

/// Deletes what nobody needs. The volumes of a table that is not here are deleted only by `force`, because a backup may bring the
/// table back.
pub fn collect(bases: &Bases, force: bool, told: &mut Told) {
    let found = match bases.snapshot_leftovers() {
        Ok(found) => found,
        Err(error) => return told.failed("the snapshotter's volumes", &error),
    };
    for (volume, why) in &found.needless {
        let name = volume.to_string();
        match fate(bases, volume, plan(*why, found.is_served, force), told.dry_run) {
            Ok((done, why)) => told.item(done, Kind::Layer, (&name, &name), why),
            Err(error) => told.failed(&name, &error),
        }
    }
    tell_lost(&found, told);
}

/// What becomes of a volume, and why.
type Fate = (Done, &'static str);

fn plan(why: Needless, is_served: bool, force: bool) -> Fate {
    match why {
        Needless::Removed if is_served => {
            (Done::Kept, "its snapshot was removed, and sharedrootd deletes it when nobody uses it")
        }
        Needless::Removed => (Done::Deleted, "its snapshot was removed"),
        Needless::OtherTable if !force => (
            Done::Kept,
            "it belongs to a table of snapshots that is not here; restore snapshots.db from a backup, or delete the volume with \
             `sharedroot gc --force`",
        ),
        Needless::OtherTable => {
            (Done::Deleted, "it belonged to a table of snapshots that is not here")
        }
        Needless::OtherEmpty if is_served => {
            (Done::Kept, "`sharedroot gc` deletes it when sharedrootd does not run")
        }
        Needless::OtherEmpty => (Done::Deleted, "no snapshot is made of it any more"),
    }
}

fn fate(
    bases: &Bases,
    volume: &VolumeName,
    (done, why): Fate,
    dry_run: bool,
) -> Result<Fate, RootfsError> {
    const IN_USE: Fate = (Done::Kept, "it is in use, and the next `gc` tries again");
    if !matches!(done, Done::Deleted) {
        return Ok((done, why));
    }
    let is_gone = match dry_run {
        true => bases.is_needless_idle(volume)?,
        false => Progress::during("deleting a volume", || bases.delete_needless(volume))?,
    };
    Ok(if is_gone { (done, why) } else { IN_USE })
}

fn tell_lost(found: &SnapshotLeftovers, told: &mut Told) {
    const WHY: &str = "the pool does not have its volume; remove its image with the engine, and pull the image again";
    for (number, lost) in found.lost.iter().enumerate() {
        let text = format!("the snapshot {}", lost.name.escape_debug());
        told.item_within(number < MOST_LINES, Done::Kept, Kind::Layer, (&lost.name, &text), WHY);
    }
    if let Some(more) = found.lost.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
        told.say(format_args!("{more} more snapshots without a volume: `sharedroot gc --json`"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_or_a_backup_may_want_stays() {
        use Needless::{OtherEmpty, OtherTable, Removed};
        for (why, is_served, force, is_deleted) in [
            (Removed, false, false, true),
            (Removed, true, true, false),
            (OtherTable, false, false, false),
            (OtherTable, true, false, false),
            (OtherTable, false, true, true),
            (OtherTable, true, true, true),
            (OtherEmpty, false, false, true),
            (OtherEmpty, true, true, false),
        ] {
            let (done, words) = plan(why, is_served, force);
            assert_eq!(
                matches!(done, Done::Deleted),
                is_deleted,
                "{why:?} {is_served} {force}: {words}"
            );
        }
    }
}
