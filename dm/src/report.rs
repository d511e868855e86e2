//! The report of [`Pool::reconcile`](crate::Pool::reconcile).

use std::fmt;

use sharedroot_format::VolumeName;
use sharedroot_sys::chain::chain;

use crate::error::Error;
use crate::names::ThinId;

/// Whether [`Pool::reconcile`](crate::Pool::reconcile) changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconcile {
    /// Nothing is changed. The report says what a repair would change.
    DryRun,
    /// The differences that were found are repaired.
    Apply,
}

/// The transaction ids of a pool where they do not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionIds {
    /// The pool's id, as the kernel says.
    pub pool: u64,
    /// The store's id.
    pub store: u64,
}

/// What [`Pool::reconcile`](crate::Pool::reconcile) found and did. After a dry run: what it would do.
#[derive(Debug, Default)]
pub struct Report {
    /// The reconcile was a dry run, so nothing was changed.
    pub dry_run: bool,
    /// Half-created volumes whose process has died. They are deleted.
    pub undone: Vec<VolumeName>,
    /// Half-deleted volumes whose process has died. They are deleted.
    pub finished: Vec<VolumeName>,
    /// Volumes that were deleted while they were in use, and are not in use any more. The rest of them is deleted.
    pub released: Vec<VolumeName>,
    /// Volumes that were deleted while they were in use, and are still in use. They are not changed.
    pub waiting: Vec<VolumeName>,
    /// Volumes that a living process creates or deletes. They are not changed.
    pub in_work: Vec<VolumeName>,
    /// Devices of the pool that no volume in the store owns. They are removed.
    pub stray_devices: Vec<String>,
    /// Thin ids of the pool that no volume in the store owns. They are deleted.
    pub stray_ids: Vec<ThinId>,
    /// Complete volumes whose thin id the pool does not have, so that their content is lost. Only
    /// [`Pool::reconcile_by_force`](crate::Pool::reconcile_by_force) drops their rows.
    pub lost: Vec<VolumeName>,
    /// The transaction ids of pool and store, if they do not match.
    pub transaction: Option<TransactionIds>,
    /// Nothing was changed, because the transaction ids do not match.
    pub untouched: bool,
    /// What could not be repaired, and why. The next reconcile tries again.
    pub failed: Vec<(String, Error)>,
}

impl Report {
    /// Names the users of the devices that could not be removed.
    pub(crate) fn name_users(&mut self) {
        let failed = std::mem::take(&mut self.failed).into_iter();
        self.failed = failed.map(|(what, error)| (what, error.naming_users())).collect();
    }

    /// Whether store, pool and kernel agree. Volumes that were deleted while they were in use do not count as a difference.
    pub fn is_clean(&self) -> bool {
        self.undone.is_empty()
            && self.finished.is_empty()
            && self.stray_devices.is_empty()
            && self.stray_ids.is_empty()
            && self.lost.is_empty()
            && self.transaction.is_none()
            && self.failed.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(TransactionIds { pool, store }) = self.transaction {
            parts.push(format!("pool at transaction {pool}, store at {store}"));
        }
        let mut say = |names: Vec<String>, what: &str| {
            parts.extend(names.into_iter().map(|name| format!("{name} {what}")));
        };
        say(text(&self.undone), "was half created");
        say(text(&self.finished), "was half deleted");
        say(text(&self.released), "was in use when it was deleted, and is not in use any more");
        say(text(&self.waiting), "is deleted and still in use");
        say(self.stray_devices.clone(), "belonged to no volume");
        // An old store lacks many volumes, so only the first are named.
        say(few(&self.stray_ids, "thin id"), "of the pool belonged to no volume");
        say(few(&self.lost, "volume"), "is no longer in the pool");
        parts.extend(
            self.failed
                .iter()
                .map(|(what, error)| format!("{what} cannot be repaired: {}", chain(error))),
        );
        if parts.is_empty() {
            parts.push("store, pool and kernel agree".into());
        }
        if self.untouched {
            parts.push("one of them is an old copy, or something else changed the pool: nothing was changed".into());
        } else if self.dry_run && !self.is_clean() {
            parts.push("nothing was changed".into());
        }
        f.write_str(&parts.join("; "))
    }
}

fn text<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(T::to_string).collect()
}

/// The first items, each with its kind, and the number of the others.
fn few<T: ToString>(items: &[T], kind: &str) -> Vec<String> {
    const NAMED: usize = 10;
    let mut named: Vec<_> =
        items.iter().take(NAMED).map(|item| format!("{kind} {}", item.to_string())).collect();
    if items.len() > NAMED {
        named.push(format!("{} more {kind}s", items.len() - NAMED));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_readable() {
        assert_eq!(Report::default().to_string(), "store, pool and kernel agree");
        let waiting = vec!["deleted.3".parse().expect("a name")];
        let report = Report { waiting, ..Report::default() };
        assert!(report.is_clean());
        assert_eq!(report.to_string(), "deleted.3 is deleted and still in use");

        let ids = (0..12).map(|id| ThinId::new(id).expect("24 bits")).collect();
        let report = Report {
            transaction: Some(TransactionIds { pool: 9, store: 4 }),
            untouched: true,
            stray_ids: ids,
            ..Report::default()
        };
        let text = report.to_string();
        assert!(!report.is_clean());
        assert!(
            text.starts_with("pool at transaction 9, store at 4; thin id 0 of the pool"),
            "{text}"
        );
        assert!(text.contains("; 2 more thin ids of the pool belonged to no volume; "), "{text}");
        assert!(text.ends_with("nothing was changed"), "{text}");
    }
}
