//! What dead processes and a host's end have left in the pool: the result of a dry run of `gc`. Only an active pool is
//! checked, because `gc` activates one.

use sharedroot_bases::{Bases, Fate, Needless, RootfsError, SnapshotLeftovers, delete_forgotten};
use sharedroot_dm::{Reconcile, Report};
use sharedroot_sys::chain::chain;

use super::check::Check;
use super::host::Host;
use super::pool::{Known, known};
use crate::record::Records;

/// Checks the pool.
pub fn look(host: &Host) -> Vec<Check> {
    const NAME: &str = "leftovers";
    vec![match known(host) {
        Ok(Known::NotMade) => Check::ok(NAME, "none: there is no pool"),
        Ok(Known::NotUsed | Known::Inactive) => {
            Check::ok(NAME, "not looked for in an inactive pool; its next use cleans up")
        }
        Ok(Known::Active(_)) => match Found::by_dry_run(&host.bases) {
            Ok(found) => found.judged(),
            Err(error) => Check::warning(NAME, chain(&error), "sharedroot gc"),
        },
        Err(why) => {
            Check::warning(NAME, format!("not looked for: {why}"), "sharedroot gc --dry-run")
        }
    }]
}

/// The leftovers.
#[derive(Debug, Default)]
struct Found {
    /// The differences between store, pool and kernel.
    report: Report,
    /// The number of snapshots whose container is gone.
    gone: usize,
    /// The number of snapshots whose container ended with the host and still exists.
    kept: usize,
    /// The number of scaffolds that no container uses.
    scaffolds: usize,
    /// The number of bases whose image is gone, as after every `docker rmi`.
    unwanted: usize,
    /// What of the snapshotter does not fit together.
    layers: SnapshotLeftovers,
}

impl Found {
    fn by_dry_run(bases: &Bases) -> Result<Self, RootfsError> {
        let report = bases.known_pool()?.reconcile(Reconcile::DryRun)?;
        if report.untouched {
            return Ok(Self { report, ..Self::default() });
        }
        let fates = delete_forgotten(bases, &Records(bases.run_dir()), Reconcile::DryRun)?;
        let count =
            |wanted| fates.iter().filter(|(_, fate)| fate.as_ref().ok() == Some(&wanted)).count();
        let (gone, kept) = (count(Fate::Gone), count(Fate::Kept) + count(Fate::Root));
        // If there are failures, the line has the words of the first failure.
        if let Some(error) = fates.into_iter().find_map(|(_, fate)| fate.err()) {
            return Err(error);
        }
        Ok(Self {
            report,
            gone,
            kept,
            scaffolds: bases.scaffolds().take_down_forgotten(Reconcile::DryRun)?.len(),
            unwanted: bases.unwanted_bases()?.len(),
            layers: bases.snapshot_leftovers()?,
        })
    }

    fn judged(&self) -> Check {
        const NAME: &str = "leftovers";
        let report = &self.report;
        let mut left = Vec::new();
        if !report.is_clean() || !report.released.is_empty() {
            left.push(report.to_string());
        }
        let needless =
            |wanted| self.layers.needless.iter().filter(|(_, why)| *why == wanted).count();
        let is_deleted = |count| if self.layers.is_served { 0 } else { count };
        let counted = [
            (self.gone, "snapshots of containers that are gone"),
            (self.scaffolds, "scaffolds that no container uses"),
            (is_deleted(needless(Needless::Removed)), "volumes of removed snapshots"),
            (is_deleted(needless(Needless::OtherEmpty)), "empty volumes that no snapshot needs"),
        ];
        left.extend(counted.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
        let lost = self.layers.lost.len();
        if lost > 0 {
            return Check::problem(
                NAME,
                format!("{lost} snapshots of images whose volumes the pool does not have"),
                "remove their images with the engine, and pull them again (`sharedroot gc --dry-run` names them)",
            );
        }
        let other = needless(Needless::OtherTable);
        if other > 0 {
            left.push(format!("{other} volumes of a table of snapshots that is not here"));
            return Check::warning(
                NAME,
                left.join("; "),
                "restore snapshots.db from a backup, or give the volumes up: sharedroot gc --force",
            );
        }
        let found = left.join("; ");
        if report.untouched || !report.lost.is_empty() {
            return Check::problem(
                NAME,
                found,
                "sharedroot gc --dry-run (then, to go on with the pool as it is: sharedroot gc --force)",
            );
        }
        if !left.is_empty() {
            return Check::warning(NAME, found, "sharedroot gc");
        }
        let waiting = [
            (report.waiting.len(), "deleted volumes are still in use"),
            (self.kept, "snapshots wait for the next start of their containers"),
            (self.unwanted, "bases of removed images wait for `sharedroot gc`"),
        ];
        let waiting =
            waiting.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("; {n} {what}"));
        Check::ok(NAME, format!("none{}", waiting.collect::<String>()))
    }
}

#[cfg(test)]
mod tests {
    use sharedroot_bases::SnapshotName;
    use sharedroot_dm::TransactionIds;

    use super::super::check::Severity::{Ok as Good, Problem, Warning};
    use super::*;

    #[test]
    fn only_what_died_is_left_over() {
        let name = |text: &str| text.parse().unwrap();
        let report = |report: Report| Found { report, ..Found::default() };
        let none = Report::default;
        let layers = |why: &[Needless], is_served| {
            let needless = why.iter().map(|why| (name("layer-00000001-1"), *why)).collect();
            let layers = SnapshotLeftovers { is_served, needless, lost: Vec::new() };
            Found { layers, ..Found::default() }
        };
        let lost = vec![SnapshotName { name: "moby/1/x".to_owned(), image: None }];
        let lost = SnapshotLeftovers { lost, ..SnapshotLeftovers::default() };
        for (found, severity, word) in [
            (Found::default(), Good, "none"),
            (Found { kept: 2, ..Found::default() }, Good, "2 snapshots wait"),
            (Found { unwanted: 1, ..Found::default() }, Good, "1 bases of removed images"),
            (report(Report { waiting: vec![name("v")], ..none() }), Good, "1 deleted volumes"),
            (report(Report { in_work: vec![name("v")], ..none() }), Good, "none"),
            (report(Report { undone: vec![name("v")], ..none() }), Warning, "v was half created"),
            (
                report(Report { released: vec![name("v")], ..none() }),
                Warning,
                "is not in use any more",
            ),
            (
                report(Report { stray_devices: vec!["d".into()], ..none() }),
                Warning,
                "belonged to no",
            ),
            (Found { gone: 3, ..Found::default() }, Warning, "3 snapshots of containers"),
            (Found { scaffolds: 1, ..Found::default() }, Warning, "1 scaffolds"),
            (report(Report { lost: vec![name("v")], ..none() }), Problem, "no longer in the pool"),
            (layers(&[Needless::Removed; 2], false), Warning, "2 volumes of removed snapshots"),
            (layers(&[Needless::Removed; 2], true), Good, "none"),
            (layers(&[Needless::OtherEmpty], false), Warning, "1 empty volumes"),
            (layers(&[Needless::OtherTable], true), Warning, "remedy: restore snapshots.db"),
            (Found { layers: lost, ..Found::default() }, Problem, "1 snapshots of images"),
            (
                report(Report {
                    transaction: Some(TransactionIds { pool: 9, store: 4 }),
                    untouched: true,
                    ..none()
                }),
                Problem,
                "gc --force",
            ),
        ] {
            let check = found.judged();
            assert_eq!(check.severity, severity, "{found:?}");
            assert!(check.plain_line().contains(word), "{word}: {check:?}");
        }
    }
}
