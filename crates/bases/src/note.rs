//! A durable note of each private rootfs: whose it is, and where its changes belong.
//!
//! The records are under `/run` and end with the host's uptime; a snapshot does not. So that nothing
//! which a container wrote is lost by a power cut, a note lies beside the store from before the
//! snapshot is taken until its changes are the engine's. A snapshot without a note has nothing to
//! give back.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sharedroot_dm::VolumeName;
use sharedroot_format::BaseKey;
use sharedroot_sys::new_file;
use sharedroot_sys::private_dir::private_dir;

use crate::changes::{LeftOut, Times};
use serde::{Deserialize, Serialize};

use crate::bases::Bases;
use crate::error::{RootfsError, file};

/// What is known of a private rootfs when its record is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The container ID.
    pub id: String,
    /// Where its engine mounts its overlay.
    pub root_path: PathBuf,
    /// The overlay's upper directory: this container's alone, also where an ID is used again.
    pub upper: PathBuf,
    /// The key of the base.
    pub base: BaseKey,
    /// The snapshot's label, without which it cannot be mounted beside a mount that is left.
    pub label: Option<String>,
    /// Changes went to the engine while the container went on, so what is as in the base need not be so in the engine's
    /// overlay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_back: bool,
    /// The snapshot's tree is the upper directory of an overlay (`overlaid.rs`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overlaid: bool,
    /// The name of the notice in the engine's overlay, if there is one (`notice.rs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// What the engine's overlay could not take when the rest was written back: the snapshot is the container's root at its
    /// next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_here: Option<OnlyHere>,
    /// What the upper directory was like when the container began, or went on after a `pause`. None while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper_then: Option<UpperThen>,
}

/// The upper directory at a time when only the container's snapshot had changes that it had not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpperThen {
    /// When, by the clock, in seconds and nanoseconds.
    pub time: (i64, i64),
    /// It had nothing. Otherwise its change times are beside the note.
    pub empty: bool,
}

/// What a snapshot holds and its engine's overlay cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlyHere {
    /// How many files.
    pub count: u64,
    /// The first of them, for people.
    pub first: String,
    /// When the rest had been written back, in seconds and nanoseconds: what is newer in the overlay is not in the snapshot.
    pub since: (i64, i64),
}

impl OnlyHere {
    fn now(left_out: &LeftOut) -> Self {
        Self { count: left_out.count, first: named(left_out), since: now() }
    }
}

fn now() -> (i64, i64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(now.as_secs()).unwrap_or(i64::MAX), i64::from(now.subsec_nanos()))
}

/// The names and reasons that are known, in a line.
pub(super) fn named(left_out: &LeftOut) -> String {
    let mut text: Vec<_> = left_out.first.iter().map(ToString::to_string).collect();
    let more = left_out.count - left_out.first.len() as u64;
    text.extend((more > 0).then(|| format!("and {more} more")));
    text.join("; ")
}

impl Bases {
    fn note_path(&self, volume: &VolumeName) -> PathBuf {
        self.state_dir().join(format!("{volume}.json"))
    }

    /// Writes the note, whole or not at all. The store's next write brings the name to the disk, too.
    ///
    /// # Errors
    /// [`RootfsError::File`], [`RootfsError::Record`].
    pub(super) fn write_note(&self, volume: &VolumeName, note: &Note) -> Result<(), RootfsError> {
        private_dir(self.state_dir())?;
        let path = self.note_path(volume);
        let text = serde_json::to_vec(note).map_err(io::Error::other);
        text.and_then(|text| new_file::write_durably(&path, &text)).map_err(file("write", &path))
    }

    /// The note of a snapshot; none if it has nothing to give back.
    ///
    /// # Errors
    /// [`RootfsError::File`], also for a file that is no note.
    pub(super) fn read_note(&self, volume: &VolumeName) -> Result<Option<Note>, RootfsError> {
        let path = self.note_path(volume);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| file("read the note", &path)(io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file("read the note", &path)(error)),
        }
    }

    /// Notes that the snapshot is the container's root at its next start.
    ///
    /// # Errors
    /// [`RootfsError::File`], [`RootfsError::Record`].
    pub(super) fn note_left_out(
        &self,
        volume: &VolumeName,
        left_out: &LeftOut,
    ) -> Result<(), RootfsError> {
        let Some(note) = self.read_note(volume)? else { return Ok(()) };
        tracing::warn!(
            "{} files of container {} cannot be in its engine's overlay: {}; they stay in {volume}, which is its root at its next \
             start; `sharedroot pool drop {volume}` gives them up",
            left_out.count,
            note.id,
            named(left_out)
        );
        self.write_times(volume, &note.upper)?;
        let only_here = Some(OnlyHere::now(left_out));
        self.write_note_for_good(volume, &Note { only_here, ..note })
    }

    fn times_path(&self, volume: &VolumeName) -> PathBuf {
        self.state_dir().join(format!("times-{volume}"))
    }

    /// Keeps the change times of the engine's upper directory: what has another one at the next start came there meanwhile.
    /// Without them, which is where there are too many, the clock has to tell.
    fn write_times(&self, volume: &VolumeName, upper: &Path) -> Result<(), RootfsError> {
        let path = self.times_path(volume);
        match times_below(upper)? {
            Some(times) => new_file::write_durably(&path, &times.write().concat())
                .map_err(file("write", &path)),
            None => remove(&path),
        }
    }

    /// Keeps what the upper directory is like now, for the note, whose container is about to go on.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub(super) fn keep_upper(
        &self,
        volume: &VolumeName,
        upper: &Path,
        empty: bool,
    ) -> Result<UpperThen, RootfsError> {
        // What is changed from here on is later.
        let time = now();
        if !empty {
            self.write_times(volume, upper)?;
        }
        Ok(UpperThen { time, empty })
    }

    /// What [`Bases::keep_upper`] kept, with its time. None if it did not, or there is too much.
    pub(super) fn upper_then(
        &self,
        volume: &VolumeName,
        note: &Note,
    ) -> Option<(Times, (i64, i64))> {
        let then = note.upper_then?;
        let times = if then.empty { Some(Times::default()) } else { self.times_of(volume) };
        Some((times?, then.time))
    }

    /// Those that were kept, if they can be read.
    pub(super) fn times_of(&self, volume: &VolumeName) -> Option<Times> {
        fs::read(self.times_path(volume)).ok().map(|bytes| Times::read(&bytes))
    }

    /// Notes, for good, that changes go to the engine and the container goes on: the upper directory is not what it was.
    ///
    /// # Errors
    /// [`RootfsError::File`], [`RootfsError::Record`].
    pub(super) fn note_giving_back(
        &self,
        volume: &VolumeName,
        note: Note,
    ) -> Result<(), RootfsError> {
        if note.given_back && note.upper_then.is_none() {
            return Ok(());
        }
        self.write_note_for_good(volume, &Note { given_back: true, upper_then: None, ..note })
    }

    /// Writes the note, and brings its name to the disk: what it says decides which of two trees is the newer one.
    ///
    /// # Errors
    /// [`RootfsError::File`], [`RootfsError::Record`].
    pub(super) fn write_note_for_good(
        &self,
        volume: &VolumeName,
        note: &Note,
    ) -> Result<(), RootfsError> {
        self.write_note(volume, note)?;
        let dir = self.state_dir();
        fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(file("sync", dir))
    }

    /// The volumes that have a note.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub(super) fn noted_volumes(&self) -> Result<Vec<VolumeName>, RootfsError> {
        let dir = self.state_dir();
        let mut noted = Vec::new();
        for entry in fs::read_dir(dir).map_err(file("list", dir))? {
            let name = entry.map_err(file("list", dir))?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
            noted.extend(name.filter(VolumeName::is_snapshot));
        }
        Ok(noted)
    }

    /// Removes the note, and the notice that it names; that they are gone is no error.
    ///
    /// # Errors
    /// [`RootfsError::File`].
    pub(super) fn remove_note(&self, volume: &VolumeName) -> Result<(), RootfsError> {
        let noticed = |note: &Note| note.notice.is_some() && !note.is_obsolete();
        // One that cannot be read goes, too.
        if let Some(mut note) = self.read_note(volume).unwrap_or(None).filter(noticed) {
            // The overlay is mounted while its container starts or runs only, and nobody gives up its snapshot then.
            let upper = note.upper.clone();
            match fs::File::open(&upper) {
                Ok(tree) => Self::take_notice(&mut note, tree)?,
                // The engine's store is not mounted.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    tracing::warn!(
                        "a notice of container {} stays in {}",
                        note.id,
                        upper.display()
                    );
                }
                Err(error) => return Err(file("open", &upper)(error)),
            }
        }
        remove(&self.times_path(volume))?;
        remove(&self.note_path(volume))
    }
}

/// The change times of all that is in an upper directory. None if there is too much.
pub(super) fn times_below(upper: &Path) -> Result<Option<Times>, RootfsError> {
    let top = fs::File::open(upper).map_err(file("open", upper))?;
    Times::below(top.as_fd()).map_err(|errno| file("look at what is in", upper)(errno.into()))
}

fn remove(path: &Path) -> Result<(), RootfsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", path)(error)),
        _ => Ok(()),
    }
}

impl Note {
    /// Whether the container's upper directory is gone, and with it whatever could want the changes.
    /// True only when that is certain.
    pub(super) fn is_obsolete(&self) -> bool {
        // A store that is not mounted is not a container that was removed.
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
        let dir = std::env::temp_dir().join(format!("sharedroot-note-{}", std::process::id()));
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
            upper_then: None,
        };
        for given_back in [false, true] {
            let note = Note { given_back, ..note.clone() };
            let text = serde_json::to_string(&note).unwrap();
            assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), note);
            // A note of an earlier version has no such word.
            assert_eq!(text.contains("given_back"), given_back);
        }

        assert!(!note.is_obsolete());
        fs::remove_dir_all(dir.join("overlay2/layer")).unwrap();
        assert!(note.is_obsolete());
        // A store that is not mounted says nothing of its containers.
        fs::remove_dir(dir.join("overlay2")).unwrap();
        assert!(!note.is_obsolete());
        fs::remove_dir(dir).unwrap();
    }
}
