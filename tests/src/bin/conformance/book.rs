//! The results of every run so far, in one file of the repository.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::outcome::Run;

/// The file and its runs.
#[derive(Debug)]
pub struct Book {
    path: PathBuf,
    runs: Vec<Run>,
}

impl Book {
    /// Reads the file. If it does not exist, the book is empty.
    pub fn open(path: &Path) -> Self {
        let runs = match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .unwrap_or_else(|e| panic!("{}: not a list of runs: {e}", path.display())),
            Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
            Err(e) => panic!("read {}: {e}", path.display()),
        };
        Self { path: path.to_owned(), runs }
    }

    /// All runs, in a stable order.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The run of the same suite, runtime and machine.
    pub fn known(&self, of: &Run) -> Option<&Run> {
        self.runs.iter().find(|run| run.key() == of.key())
    }

    /// Replaces an older run of the same suite, runtime and machine, and writes the file. Each test has one line, so that a
    /// diff shows each change.
    pub fn enter(&mut self, run: Run) {
        self.runs.retain(|old| old.key() != run.key());
        self.runs.push(run);
        self.runs.sort_by(|a, b| a.key().cmp(&b.key()));
        let text = lines(&self.runs);
        fs::write(&self.path, text)
            .unwrap_or_else(|e| panic!("write {}: {e}", self.path.display()));
    }
}

fn lines(runs: &[Run]) -> String {
    let runs = runs.iter().map(|run| {
        let head = json(&Run { tests: vec![], ..run.clone() });
        let head = head.strip_suffix("]}").expect("a run ends with its tests");
        let tests: Vec<_> = run.tests.iter().map(json).collect();
        format!("{head}\n  {}\n]}}", tests.join(",\n  "))
    });
    format!("[\n{}\n]\n", runs.collect::<Vec<_>>().join(",\n"))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("text and lists are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Verdict::{Failed, Passed};
    use crate::outcome::tests::run;
    use sharedroot_tests::lab::TempDir;

    #[test]
    fn a_run_takes_the_place_of_the_older_one() {
        let dir = TempDir::new("book");
        let path = dir.0.join("book.json");
        let mut book = Book::open(&path);
        book.enter(run("runc", &[("a", Passed)]));
        book.enter(run("crun", &[("a", Passed), ("b", Failed)]));
        book.enter(run("runc", &[("a", Failed)]));
        let again = Book::open(&path);
        assert_eq!(
            again.runs(),
            [run("crun", &[("a", Passed), ("b", Failed)]), run("runc", &[("a", Failed)])]
        );
        assert_eq!(again.known(&run("runc", &[])), Some(&again.runs()[1]));
        assert_eq!(again.known(&run("sharedroot", &[])), None);
    }
}
