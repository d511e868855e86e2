//! How long starts take, and which commands failed: one line for each, in a file in the run directory, for `sharedroot top` and
//! `sharedroot metrics`.
//!
//! A line is written by one write(2) to a file that is open for appending. So the lines of many processes do not mix, and no
//! process waits for a lock. Nothing depends on the lines: a line that cannot be written is left out. When the file grows
//! beyond a bound, it becomes the old file, and of the old file before it only the sums are kept.

mod totals;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sharedroot_format::BaseKey;
use sharedroot_sys::process_start::Moment;

pub use totals::{BOUNDS, Histogram, Totals};

/// The bound of each of the two files, in bytes: the lines of some 25,000 starts.
const BOUND: u64 = 4 << 20;

/// What a command did for a container, and how long it took from the beginning of its process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What the command did.
    pub step: Step,
    /// When the command ended.
    pub at: Moment,
    /// How long the command took.
    pub took: Duration,
    /// The container, as [`Place::tag`](crate::record::Place::tag) names it. A `create` and the `start` after it have one tag.
    pub container: String,
}

/// What a command did for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `create` of a container on this base, or on the engine's rootfs. A `start` follows.
    Create(Option<BaseKey>),
    /// `create` with an engine whose `start` this program does not see, because the engine replaces this process.
    Whole(Option<BaseKey>),
    /// `start`.
    Start,
    /// The command with this verb failed.
    Failed(String),
}

/// The line is no note of a start.
#[derive(Debug, thiserror::Error)]
#[error("no note of a start: {0:?}")]
pub struct NotANote(String);

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |base: &Option<BaseKey>| base.as_ref().map_or("-".to_owned(), ToString::to_string);
        let (word, of) = match &self.step {
            Step::Create(base) => ("create", on(base)),
            Step::Whole(base) => ("whole", on(base)),
            Step::Start => ("start", "-".to_owned()),
            Step::Failed(verb) => ("failed", verb.clone()),
        };
        let (at, took) = (self.at, self.took.as_micros());
        write!(f, "{word} {at} {took} {} {of}", self.container)
    }
}

impl FromStr for Note {
    type Err = NotANote;

    fn from_str(line: &str) -> Result<Self, NotANote> {
        let parsed = || {
            let words: Vec<_> = line.split(' ').collect();
            let [word, at, took, container, of] = words[..] else { return None };
            let base = || if of == "-" { Some(None) } else { Some(Some(of.parse().ok()?)) };
            let step = match (word, of) {
                ("create", _) => Step::Create(base()?),
                ("whole", _) => Step::Whole(base()?),
                ("start", "-") => Step::Start,
                ("failed", verb) if verb.bytes().all(|b| b.is_ascii_lowercase()) => {
                    Step::Failed(verb.to_owned())
                }
                _ => return None,
            };
            let took = Duration::from_micros(took.parse().ok()?);
            Some(Self { step, at: at.parse().ok()?, took, container: container.to_owned() })
        };
        parsed().ok_or_else(|| NotANote(line.to_owned()))
    }
}

/// Writes a note of a command that began at `began` and has ended now. A note that cannot be written is no error.
pub fn note(run_dir: &Path, step: Step, began: Moment, container: String) {
    let at = Moment::now();
    let note = Note { step, at, took: at.since(began), container };
    if let Err(error) = append(run_dir, &format!("{note}\n"), BOUND) {
        tracing::debug!("write the note of a start: {error}");
    }
}

fn append(run_dir: &Path, line: &str, bound: u64) -> io::Result<()> {
    let path = run_dir.join("starts");
    let mut file = File::options().append(true).create(true).mode(0o600).open(&path)?;
    file.write_all(line.as_bytes())?;
    // The end of this line, not of the file: exactly one line crosses each bound.
    let end = file.stream_position()?;
    if end / bound > (end.saturating_sub(line.len() as u64)) / bound {
        let _turn = turn(run_dir)?;
        let inode = |found: io::Result<fs::Metadata>| found.map(|found| found.ino()).ok();
        if inode(fs::metadata(&path)) != inode(file.metadata()) {
            // Another process was at the bound, too, and has replaced the files already.
            return Ok(());
        }
        let old = run_dir.join("starts.old");
        let mut totals = Totals::read(&run_dir.join("starts.sum"));
        totals.extend(notes(&old)?);
        // If the process is killed between these two steps, the old notes are counted twice.
        totals.write(&run_dir.join("starts.sum"))?;
        fs::rename(&path, old)?;
    }
    Ok(())
}

/// The lock of the process that computes the sums.
fn turn(run_dir: &Path) -> io::Result<File> {
    let path = run_dir.join("starts.lock");
    let file = File::options().append(true).create(true).mode(0o600).open(path)?;
    file.lock()?;
    Ok(file)
}

/// The notes in a file; none if there is no file.
fn notes(path: &Path) -> io::Result<Vec<Note>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    // A full disk may have cut a line. This line and the next are lost then.
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
    Ok(lines.filter_map(|line| line.parse().ok()).collect())
}

/// The sums of all notes since the host booted.
///
/// # Errors
/// A file exists and cannot be read.
pub fn since_boot(run_dir: &Path) -> io::Result<Totals> {
    let _turn = turn(run_dir)?;
    let mut totals = Totals::read(&run_dir.join("starts.sum"));
    for name in ["starts.old", "starts"] {
        totals.extend(notes(&run_dir.join(name))?);
    }
    Ok(totals)
}

/// The notes of the last `period` before `now`, in the order in which they were written. If more than the bound was written in
/// this period, only the last notes.
///
/// # Errors
/// A file exists and cannot be read.
pub fn of_the_last(run_dir: &Path, period: Duration, now: Moment) -> io::Result<Vec<Note>> {
    let mut found = Vec::new();
    for name in ["starts.old", "starts"] {
        found.extend(notes(&run_dir.join(name))?);
    }
    found.retain(|note| note.at <= now && now.since(note.at) <= period);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    struct Dir(std::path::PathBuf);

    impl Dir {
        fn new(what: &str) -> Self {
            let name = format!("sharedroot-starts-{what}-{}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            fs::create_dir(&dir).unwrap();
            Self(dir)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn key() -> BaseKey {
        format!("{}-5.6", "ab".repeat(32)).parse().unwrap()
    }

    fn steps() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<bool>().prop_map(|some| Step::Create(some.then(key))),
            any::<bool>().prop_map(|some| Step::Whole(some.then(key))),
            Just(Step::Start),
            "[a-z]{1,10}".prop_map(Step::Failed),
        ]
    }

    proptest! {
        #[test]
        fn a_line_and_a_note_are_one_to_one(
            step in steps(), at: u64, took: u32, container in "[0-9a-f]{16}",
        ) {
            let (at, took) = (Moment::of_nanos(at), Duration::from_micros(took.into()));
            let note = Note { step, at, took, container };
            prop_assert_eq!(note.to_string().parse::<Note>().unwrap(), note);
        }

        #[test]
        fn nothing_panics(line: String) {
            let _ = line.parse::<Note>();
        }
    }

    #[test]
    fn what_is_no_line_of_ours_is_left_out() {
        let dir = Dir::new("bad");
        let good = "start 5 7 0123456789abcdef -";
        for bad in [
            "",
            "stop 5 7 c -",
            "start 5 7 c",
            "start 5 7 c - -",
            "create 5 7 c base",
            "failed 5 7 - A",
        ] {
            assert!(bad.parse::<Note>().is_err(), "{bad:?}");
        }
        assert!(format!("start 5 7 c {}", key()).parse::<Note>().is_err(), "a start has no base");
        let text = [b"create 5 \xff\xfe c -\n", good.as_bytes(), b"\ncreate 5 7"].concat();
        fs::write(dir.0.join("starts"), text).unwrap();
        let hour = Duration::from_secs(3600);
        let found = of_the_last(&dir.0, hour, Moment::of_nanos(6)).unwrap();
        assert_eq!(found, [good.parse().unwrap()]);
    }

    #[test]
    fn notes_are_read_back_for_their_period_and_only_root_may() {
        let dir = Dir::new("period");
        let hour = Duration::from_secs(3600);
        assert_eq!(of_the_last(&dir.0, hour, Moment::now()).unwrap(), []);
        let began = Moment::now();
        note(&dir.0, Step::Create(Some(key())), began, "c1".to_owned());
        note(&dir.0, Step::Start, began, "c1".to_owned());
        let now = Moment::now();
        let found = of_the_last(&dir.0, hour, now).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((&found[0].step, &found[1].step), (&Step::Create(Some(key())), &Step::Start));
        assert!(found[0].at <= found[1].at);
        let later = now + hour + Duration::from_nanos(1);
        assert_eq!(of_the_last(&dir.0, hour, later).unwrap(), [], "an hour later they are old");
        let mode = fs::metadata(dir.0.join("starts")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // If the directory is gone, `create` does not fail.
        note(&dir.0.join("gone"), Step::Start, began, "c1".to_owned());
    }

    #[test]
    fn many_at_once_lose_nothing_but_the_oldest() {
        const LINES: usize = 200;
        let dir = Dir::new("many");
        let line = |thread: usize, at: usize| format!("start {at} 7 {thread:016x} -\n");
        let bound = 64 * line(0, 100).len() as u64;
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let dir = &dir.0;
                scope.spawn(move || {
                    (100..100 + LINES)
                        .for_each(|at| append(dir, &line(thread, at), bound).unwrap());
                });
            }
        });
        // A line that ends exactly at the bound makes the file the old file, and no line has begun a new one yet.
        let lines = |name: &str| fs::read_to_string(dir.0.join(name)).unwrap_or_default();
        let text = || lines("starts.old") + &lines("starts");
        assert!(text().lines().all(|line| line.parse::<Note>().is_ok()), "lines mix");
        // While one process computes the sums, the others may write as many lines as they like. Afterwards no process writes.
        (0..3 * 64).for_each(|_| append(&dir.0, &line(9, 999), bound).unwrap());
        let kept = text().lines().count();
        assert!((64..=2 * 64).contains(&kept), "{kept} lines are kept");
        // A process may open the file, wait until the file has become the old file and was summed up, and write then. Its line
        // is lost.
        let all = since_boot(&dir.0).unwrap().started.cumulated().last().unwrap();
        let written = 8 * LINES as u64 + 3 * 64;
        let lost = 7 * written / 64;
        assert!((written - lost..=written).contains(&all), "{all} of {written} are counted");
    }
}
