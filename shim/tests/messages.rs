//! docs/troubleshooting.md quotes messages that the program has.

use std::fs;
use std::path::{Path, PathBuf};

const DOCS: &str = include_str!("../../docs/troubleshooting.md");

/// Every source file below a folder of the repository.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("list a folder").map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// A source with its texts as they are printed: lines that go on are joined, code marks left out.
fn plain(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let joined = lines.fold(first, |joined, line| joined + line.trim_start());
    // rootfs/plan.rs names the annotations once.
    let named =
        joined.replace("{MODE}", "dev.sharedroot.mode").replace("{SIZE}", "dev.sharedroot.size");
    named.replace("\\\"", "\"").replace('`', "")
}

/// The words of a quoted message that do not differ from one case to the next.
fn words(message: &str) -> impl Iterator<Item = &str> {
    let trimmed = message.split('…').map(|part| part.trim_matches([' ', ':', ';', ',', '(', ')']));
    trimmed.filter(|part| part.len() > 2)
}

#[test]
fn every_message_that_is_explained_exists() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = ["crates", "dm/src", "shim/src", "snapshotter/src", "packaging"]
        .map(|folder| sources(&top.join(folder)));
    let text: String = files
        .iter()
        .flatten()
        .map(|path| plain(&fs::read_to_string(path).expect("read a source")))
        .collect();
    let (mut seen, mut missing) = (0, Vec::new());
    // The kernel's own words are the last part's.
    let ours = DOCS.split("### Denials").next().expect("split yields one");
    for row in ours.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().expect("split yields one");
        for message in cell.split('`').skip(1).step_by(2) {
            seen += 1;
            missing.extend(words(message).filter(|words| !text.contains(words)).map(str::to_owned));
        }
    }
    assert!(seen > 150, "{seen} messages");
    assert!(missing.is_empty(), "docs/troubleshooting.md quotes what nobody says: {missing:#?}");
}
