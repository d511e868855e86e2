//! The reader of tars beside Go's archive/tar, which reads layers for Docker, containerd and podman: what this reader accepts, Go
//! reads in the same way, entry by entry. What only this reader refuses has one of the reasons of `REFUSED_HERE_ONLY`. The reader
//! of manifests beside Go's encoding/json in the same way, but what this reader refuses may have any reason.
//!
//! `hack/tar.d/build target/tar` makes the program that lists a tar by Go; `hack/test` does so before this test.

#[path = "beside_go/json.rs"]
mod json;
#[path = "beside_go/sparse.rs"]
mod sparse;
#[path = "beside_go/tars.rs"]
mod tars;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use sharedroot_image::fuzz::{documents, list};

use self::json::document;
use self::tars::{Random, damaged, tar};

/// How many tars are made, and how many are damaged ones of the seeds.
const MADE: usize = 30_000;
const DAMAGED: usize = 10_000;

/// docs/images.md names these.
const REFUSED_HERE_ONLY: [&str; 11] = [
    "is no number of a user or group",
    "ext4 keeps times from 1901 to 2446",
    "no device of Linux has the numbers",
    "a link without a target",
    "is not known",
    "a name has a NUL byte in it",
    "more than 1000 extended attributes",
    "an extended attribute without a name",
    "which no file can have",
    "a sparse file of too many extents",
    // More digits than a number has; and the content of a large file, which Go was not asked for.
    "a sparse file whose",
];

/// Go's reader, in a process of its own.
struct Go {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Go {
    fn start(what: &[&str]) -> Self {
        let program = made("list");
        let child =
            Command::new(&program).args(what).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| {
            panic!("{}: {error}; hack/tar.d/build target/tar makes it", program.display())
        });
        let input = child.stdin.take().expect("a pipe");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, input, output }
    }

    fn ask(&mut self, input: &[u8]) {
        let length = u32::try_from(input.len()).expect("a short input");
        self.input.write_all(&length.to_le_bytes()).expect("write to Go's reader");
        self.input.write_all(input).expect("write to Go's reader");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("read from Go's reader");
        assert!(line.ends_with('\n'), "Go's reader ended");
        line
    }

    fn list(&mut self, tar: &[u8]) -> Vec<String> {
        self.ask(tar);
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            let is_end = line == "end\n" || line.starts_with("error ");
            lines.push(line.trim_end().to_owned());
            if is_end {
                return lines;
            }
        }
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the program that lists tars was made with.
fn made(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tar").join(name)
}

/// How a tar ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    ReadByBoth,
    RefusedByBoth,
    RefusedHereOnly(&'static str),
}

/// Compares the lines of both readers.
fn compare(ours: &[String], gos: &[String]) -> Result<End, String> {
    let (our_end, our_entries) = ours.split_last().expect("an end");
    let (gos_end, gos_entries) = gos.split_last().expect("an end");
    for (n, ours) in our_entries.iter().enumerate() {
        let gos = gos_entries.get(n).unwrap_or(gos_end);
        if ours != gos {
            return Err(format!("entry {n}:\n  here: {ours}\n  Go:   {gos}"));
        }
    }
    let is_last = our_entries.len() == gos_entries.len();
    let differ = || Err(format!("the end:\n  here: {our_end}\n  Go:   {}", gos[our_entries.len()]));
    match (our_end == "end", gos_end == "end") {
        (true, true) if is_last => Ok(End::ReadByBoth),
        (true, _) => differ(),
        (false, false) if is_last => Ok(End::RefusedByBoth),
        (false, _) => match REFUSED_HERE_ONLY.iter().find(|reason| our_end.contains(*reason)) {
            Some(reason) => Ok(End::RefusedHereOnly(reason)),
            None => differ(),
        },
    }
}

/// Compares the readers on each tar, and counts how the tars end. Panics with the first tar on which they differ.
fn run(tars: impl Iterator<Item = (String, Vec<u8>)>) -> BTreeMap<End, usize> {
    let mut go = Go::start(&[]);
    let mut ends = BTreeMap::new();
    for (name, tar) in tars {
        match compare(&list(&tar), &go.list(&tar)) {
            Ok(end) => *ends.entry(end).or_default() += 1,
            Err(difference) => {
                let path = made("differs.tar");
                fs::write(&path, &tar).expect("keep the tar");
                panic!("{name}, kept as {}: {difference}", path.display());
            }
        }
    }
    println!("{ends:#?}");
    ends
}

/// The seeds of the fuzz target, and the archives of Go's own tests.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = sharedroot_seeds::files("fuzz/seeds/tar");
    let archives = fs::read_dir(made("archives")).expect("hack/tar.d/build target/tar makes them");
    let mut archives: Vec<_> = archives.map(|entry| entry.expect("an entry").path()).collect();
    archives.sort();
    seeds.extend(archives.into_iter().map(|path| {
        let tar = fs::read(&path).expect("read an archive");
        (path.display().to_string(), tar)
    }));
    seeds
}

#[test]
fn seeds_are_read_as_by_go() {
    let ends = run(seeds().into_iter());
    assert!(ends[&End::ReadByBoth] > 20 && ends[&End::RefusedByBoth] > 5, "{ends:?}");
}

#[test]
fn damaged_seeds_are_read_as_by_go() {
    let seeds = seeds();
    let mut random = Random::new(1);
    let ends = run((0..DAMAGED).map(|n| {
        let (name, seed) = random.of(&seeds);
        (format!("damaged tar {n}, of {name}"), damaged(&mut random, seed))
    }));
    assert!(ends[&End::ReadByBoth] > DAMAGED / 10, "{ends:?}");
    assert!(ends[&End::RefusedByBoth] > DAMAGED / 10, "{ends:?}");
}

#[test]
fn made_tars_are_read_as_by_go() {
    let mut random = Random::new(2);
    let ends = run((0..MADE).map(|n| (format!("made tar {n}"), tar(&mut random))));
    assert!(ends[&End::ReadByBoth] > MADE / 10, "{ends:?}");
    assert!(ends[&End::RefusedByBoth] > MADE / 10, "{ends:?}");
}

/// What a document says. For Go a text that is not there is empty.
fn said(value: Value) -> Value {
    let is_said = |value: &Value| !value.is_null() && value != "";
    match value {
        Value::Array(all) => all.into_iter().map(said).collect(),
        Value::Object(all) => {
            all.into_iter().filter(|(_, value)| is_said(value)).map(|(k, v)| (k, said(v))).collect()
        }
        other => other,
    }
}

#[test]
fn made_documents_are_read_as_by_go() {
    let (mut random, mut go, mut ends) = (Random::new(3), Go::start(&["json"]), [0; 2]);
    for n in 0..MADE {
        let text = document(&mut random);
        go.ask(text.as_bytes());
        for ours in documents(text.as_bytes()) {
            let gos = go.line();
            match (ours, gos.as_str()) {
                (None, "refused\n") => {}
                (None, _) => ends[1] += 1,
                (Some(ours), gos) => {
                    let gos = serde_json::from_str(gos)
                        .unwrap_or_else(|error| panic!("document {n}, {text}: {error}, {gos}"));
                    assert_eq!(said(ours), said(gos), "document {n}: {text}");
                    ends[0] += 1;
                }
            }
        }
    }
    assert!(ends.iter().all(|count| *count > MADE / 10), "{ends:?}");
    println!("read by both, refused here only: {ends:?}");
}
