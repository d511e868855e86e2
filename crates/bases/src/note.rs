//! The content of a snapshot's note: the snapshot's container, and the overlay to which its changes belong.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sharedroot_format::BaseKey;
use sharedroot_sys::chain::chain;

use crate::changes::LeftOut;

/// What is known of a private rootfs when its record is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The container ID.
    pub id: String,
    /// Where the container's engine mounts the overlay.
    pub root_path: PathBuf,
    /// The overlay's upper directory. Each container has its own, also when a container ID is used again.
    pub upper: PathBuf,
    /// The key of the base.
    pub base: BaseKey,
    /// The snapshot's label. Without this label it cannot be mounted while another mount of it is left.
    pub label: Option<String>,
    /// Whether changes went to the engine while the container went on. If so, a file of the snapshot that is as in the base may
    /// still differ from the file in the engine's overlay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_back: bool,
    /// Whether the snapshot's tree is the upper directory of an overlay (`overlaid.rs`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overlaid: bool,
    /// The name of the notice in the engine's overlay, if the overlay has a notice (`notice.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// What the engine's overlay could not take when the other changes were written back. Then the snapshot is the container's
    /// root at its next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_here: Option<OnlyHere>,
    /// Whether the host ended while the snapshot was in use, and no write-back has ended since. Then a file with the time of its
    /// base may have other content (`changes/written.rs`). Recorded before the first mount that replays the journal: after that
    /// mount the file system looks like one that was unmounted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
    /// The state of the upper directory when the container began, or when it went on after a `pause`. None while that is not
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_then: Option<UpperThen>,
}

/// The state of the upper directory at a time after which only the container's snapshot got changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpperThen {
    /// The time by the clock, in seconds and nanoseconds.
    pub time: (i64, i64),
    /// Whether the upper directory was empty. If not, its change times are in a file beside the note.
    pub empty: bool,
}

impl UpperThen {
    /// The state of an upper directory that is empty now.
    pub(super) fn empty() -> Self {
        Self { time: now(), empty: true }
    }
}

/// The files that a snapshot holds and its engine's overlay cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlyHere {
    /// The number of files.
    pub count: u64,
    /// The first of these files, for people.
    pub first: String,
    /// When the other changes had been written back, in seconds and nanoseconds. The snapshot lacks what came into the overlay
    /// later.
    pub since: (i64, i64),
}

impl OnlyHere {
    pub(super) fn now(left_out: &LeftOut) -> Self {
        Self { count: left_out.count, first: named(left_out), since: now() }
    }
}

pub(super) fn now() -> (i64, i64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(now.as_secs()).unwrap_or(i64::MAX), i64::from(now.subsec_nanos()))
}

/// The known names and reasons, in one line.
pub(super) fn named(left_out: &LeftOut) -> String {
    let mut text: Vec<_> = left_out.first.iter().map(|error| chain(error)).collect();
    let more = left_out.count - left_out.first.len() as u64;
    text.extend((more > 0).then(|| format!("and {more} more")));
    text.join("; ")
}

impl Note {
    /// Whether the container's upper directory is certainly gone, so that nobody can want the changes.
    pub(super) fn is_obsolete(&self) -> bool {
        // A store that is not mounted does not mean that the container was removed.
        let exists = |path: &Path| fs::symlink_metadata(path).map(drop);
        let gone =
            |path: &Path| exists(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let store = self.upper.ancestors().nth(2);
        gone(&self.upper) && store.is_some_and(|store| exists(store).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_and_knows_when_nobody_wants_the_changes() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let upper = dir.join("overlay2/layer/diff");
        fs::create_dir_all(&upper).unwrap();
        let label = Some("system_u:object_r:container_file_t:s0:c1,c2".to_owned());
        let (root_path, base) =
            (dir.join("overlay2/layer/merged"), "ab".repeat(32).parse().unwrap());
        let (id, upper_of) = ("c1".to_owned(), upper.clone());
        let note = Note {
            id,
            root_path,
            upper: upper_of,
            base,
            label,
            given_back: false,
            overlaid: false,
            notice: None,
            only_here: None,
            replayed: false,
            upper_then: None,
        };
        for given_back in [false, true] {
            let note = Note { given_back, ..note.clone() };
            let text = serde_json::to_string(&note).unwrap();
            assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), note);
            // A note of an earlier version does not have this field.
            assert_eq!(text.contains("given_back"), given_back);
        }

        assert!(!note.is_obsolete());
        fs::remove_dir_all(dir.join("overlay2/layer")).unwrap();
        assert!(note.is_obsolete());
        // A store that is not mounted says nothing about its containers.
        fs::remove_dir(dir.join("overlay2")).unwrap();
        assert!(!note.is_obsolete());
    }
}
