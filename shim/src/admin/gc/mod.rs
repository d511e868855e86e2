//! `gc`: finishes or undoes the changes of the pool that dead processes and reboots left incomplete.
//!
//! | file | its story |
//! |---|---|
//! | `layers` | the volumes of the snapshotter that nobody needs |
//! | `told` | what is said of each thing that was found |

mod layers;
mod told;

use serde_json::{Value, json};
use sharedroot_bases::{Bases, Fate, Mislabelled, RootfsError, Unwanted, delete_forgotten};
use sharedroot_dm::{Pool, Report};
use sharedroot_sys::chain::chain;
use sharedroot_sys::private_dir::private_dir;

use super::for_programs;
use super::progress::Progress;
use crate::cli::Gc;
use crate::lifecycle::LifecycleError;
use crate::record::Records;
use told::{Done, Item, Kind, Told};

/// Makes store, pool and kernel agree, deletes the snapshots of containers that are gone, and prints what was done. If
/// the pool is not the one that the store describes, only `force` continues, with the pool as it is.
///
/// # Errors
/// [`LifecycleError`].
pub fn collect(bases: &Bases, args: &Gc) -> Result<(), LifecycleError> {
    private_dir(bases.run_dir())?;
    let mut told =
        Told { dry_run: args.dry_run, json: args.json, items: Vec::new(), failed: Vec::new() };
    let report = go_through(bases, args, &mut told)?;
    if args.json {
        for_programs(json!({
            "dry_run": args.dry_run,
            "pool": bases.config().pool.name.to_string(),
            "reconciled": report.as_ref().map(report_json),
            "items": told.items.iter().map(Item::to_json).collect::<Vec<_>>(),
        }));
    }
    match told.failed.is_empty() {
        true => Ok(()),
        false => Err(LifecycleError::NotCollected { names: told.failed }),
    }
}

/// `None` if there is no pool.
fn go_through(bases: &Bases, args: &Gc, told: &mut Told) -> Result<Option<Report>, LifecycleError> {
    let dry_run = args.dry_run;
    if !dry_run {
        for path in bases.imports().sweep() {
            let path = path.display().to_string();
            told.item(Done::Removed, Kind::Import, (&path, &path), "its import was killed");
        }
    }
    let Some(pool) = bases.pool_to_reconcile()? else {
        let name = &bases.config().pool.name;
        told.say(format_args!("pool {name}: not made yet, nothing to do"));
        return Ok(None);
    };
    let reconcile = if args.force { Pool::reconcile_by_force } else { Pool::reconcile };
    let how = told.how();
    let report = Progress::during("comparing store, pool and kernel", || reconcile(pool, how))
        .map_err(RootfsError::from)?;
    if report.untouched {
        told.say(format_args!(
            "{report}; restore the other, or go on with the pool as it is with `sharedroot gc --force`"
        ));
        return Ok(Some(report));
    }
    told.say(format_args!("{report}"));
    delete_snapshots(bases, told);
    // The leases are reconciled in a dry run, too: the later steps ask the leases, and no lease is removed that a container
    // may use.
    if let Err(error) = bases.reconcile_leases(&Records(bases.run_dir())) {
        told.failed("the leases", &error);
        return Ok(Some(report));
    }
    take_scaffolds_down(bases, told);
    unmount_mislabelled(bases, told);
    delete_bases(bases, told);
    layers::collect(bases, args.force, told);
    Ok(Some(report))
}

fn delete_snapshots(bases: &Bases, told: &mut Told) {
    let (how, records) = (told.how(), Records(bases.run_dir()));
    let forgotten =
        Progress::during("deleting snapshots", || delete_forgotten(bases, &records, how));
    let forgotten = forgotten.unwrap_or_else(|error| {
        told.failed("the snapshots", &error);
        Vec::new()
    });
    for (volume, fate) in forgotten {
        let name = volume.to_string();
        let (done, why) = match fate {
            Ok(Fate::Gone) => (Done::Deleted, "its container is gone"),
            Ok(Fate::Kept) => (
                Done::Kept,
                "its container ended with the host and is still there; the next start of the container writes its changes back",
            ),
            Ok(Fate::Root) => (
                Done::Kept,
                "it holds what its engine's overlay cannot, and is the root of its container's next start",
            ),
            Ok(Fate::InUse) => {
                (Done::Kept, "its container is being started, or was started meanwhile")
            }
            Err(error) => {
                told.failed(&name, &error);
                continue;
            }
        };
        told.item(done, Kind::Snapshot, (&name, &name), why);
    }
}

fn take_scaffolds_down(bases: &Bases, told: &mut Told) {
    match bases.scaffolds().take_down_forgotten(told.how()) {
        Ok(scaffolds) => {
            for (base, name) in scaffolds {
                let text = format!("the scaffold {name} of the base {}", base.short());
                let full = format!("{base}/{name}");
                told.item(Done::Unmounted, Kind::Scaffold, (&full, &text), "no container uses it");
            }
        }
        Err(error) => told.failed("the scaffolds", &error),
    }
}

fn delete_bases(bases: &Bases, told: &mut Told) {
    let unwanted = bases.unwanted_bases().unwrap_or_else(|error| {
        told.failed("the bases", &error);
        Vec::new()
    });
    for (key, why) in unwanted {
        let remove = || Progress::during("deleting a base", || bases.remove_base(&key));
        let text = format!("the base {}", key.short());
        if !told.dry_run
            && let Err(error) = remove()
        {
            told.failed(&text, &error);
            continue;
        }
        let why = match why {
            Unwanted::ImageGone => "its image is gone".to_owned(),
            Unwanted::OtherFormat => {
                format!(
                    "its format {} is another version's, and no container uses it",
                    key.format()
                )
            }
        };
        told.item(Done::Deleted, Kind::Base, (&key.to_string(), &text), &why);
    }
}

/// If the policy does not know the shared label, the other steps still run.
fn unmount_mislabelled(bases: &Bases, told: &mut Told) {
    match bases.labels().unmount_mislabelled(told.how()) {
        Ok(bases) => {
            for Mislabelled { key, label, used } in bases {
                let (full, text) = (key.to_string(), format!("the base {}", key.short()));
                if used {
                    let text = format!("{text} under {label}");
                    told.item(Done::Kept, Kind::BaseMount, (&full, &text), "containers use it");
                } else {
                    let why = format!("it had the label {label}");
                    told.item(Done::Unmounted, Kind::BaseMount, (&full, &text), &why);
                }
            }
        }
        Err(error) => tracing::warn!("the labels of bases were not changed: {}", chain(&error)),
    }
}

fn report_json(report: &Report) -> Value {
    fn text<T: ToString>(all: &[T]) -> Vec<String> {
        all.iter().map(T::to_string).collect()
    }
    let failed =
        report.failed.iter().map(|(what, error)| json!({ "what": what, "why": chain(error) }));
    json!({
        "undone": text(&report.undone),
        "finished": text(&report.finished),
        "released": text(&report.released),
        "waiting": text(&report.waiting),
        "in_work": text(&report.in_work),
        "stray_devices": report.stray_devices,
        "stray_ids": text(&report.stray_ids),
        "lost": text(&report.lost),
        "transaction": report.transaction.map(|ids| json!({ "pool": ids.pool, "store": ids.store })),
        "untouched": report.untouched,
        "failed": failed.collect::<Vec<_>>(),
    })
}
