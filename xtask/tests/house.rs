//! Which crate may use which crates, and what may be in each crate. Without this test, a review would have to check these rules
//! at every change.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The crates of the workspace that each crate may use, to build and to test.
const HOUSE: [(&str, &[&str]); 16] = [
    (
        "containerd-shim-sharedroot-v2",
        &[
            "sharedroot",
            "sharedroot-engine",
            "sharedroot-format",
            "sharedroot-sys",
            "sharedroot-task",
        ],
    ),
    (
        "sharedroot",
        &[
            "sharedroot-bases",
            "sharedroot-config",
            "sharedroot-dm",
            "sharedroot-engine",
            "sharedroot-format",
            "sharedroot-image",
            "sharedroot-label",
            "sharedroot-seeds",
            "sharedroot-sys",
        ],
    ),
    (
        "sharedroot-bases",
        &[
            "sharedroot-dm",
            "sharedroot-format",
            "sharedroot-image",
            "sharedroot-label",
            "sharedroot-sys",
        ],
    ),
    (
        "sharedroot-config",
        &["sharedroot-bases", "sharedroot-dm", "sharedroot-label", "sharedroot-sys"],
    ),
    ("sharedroot-bench", &["sharedroot-dm", "sharedroot-tests"]),
    ("sharedroot-dm", &["sharedroot-format", "sharedroot-sys"]),
    (
        "sharedroot-engine",
        &["sharedroot-format", "sharedroot-label", "sharedroot-seeds", "sharedroot-sys"],
    ),
    ("sharedroot-format", &["sharedroot-sys"]),
    ("sharedroot-image", &["sharedroot-format", "sharedroot-seeds", "sharedroot-sys"]),
    ("sharedroot-label", &["sharedroot-sys"]),
    ("sharedroot-seeds", &["sharedroot-sys"]),
    ("sharedroot-sys", &[]),
    ("sharedroot-task", &[]),
    // It speaks the protocol of containerd's shims, as containerd does.
    ("sharedroot-tests", &["sharedroot-task"]),
    (
        "sharedrootd",
        &[
            "sharedroot-bases",
            "sharedroot-config",
            "sharedroot-dm",
            "sharedroot-format",
            "sharedroot-image",
            "sharedroot-label",
            "sharedroot-seeds",
            "sharedroot-sys",
            "sharedroot-task",
        ],
    ),
    ("xtask", &[]),
];

/// Crates for async runtimes, TLS and RPC. `sharedroot` must not link them, because it starts for every command of every
/// container, and each byte of its file costs time.
const OF_DAEMONS: [&str; 17] = [
    "async-executor",
    "async-std",
    "futures-executor",
    "h2",
    "hyper",
    "mio",
    "native-tls",
    "openssl",
    "prost",
    "quinn",
    "reqwest",
    "rustls",
    "smol",
    "tokio",
    "tonic",
    "ttrpc",
    "ureq",
];

/// The folders of the programs' code.
const CODE: [&str; 5] = ["containerd-shim/src", "crates", "dm/src", "shim/src", "snapshotter/src"];

/// The files of the programs that may have `unsafe`, for system calls that no crate wraps safely.
const WITH_UNSAFE: [&str; 7] = [
    "crates/sys/src/clone3.rs",
    "crates/sys/src/command_line.rs",
    "crates/sys/src/extents.rs",
    "crates/sys/src/mount/shut_down.rs",
    "crates/sys/src/seccomp.rs",
    "crates/sys/src/signal.rs",
    "dm/src/ioctl.rs",
];

/// The only file that sets the kernel's flags for the resolution of a path.
const RESOLVES: &str = "crates/sys/src/resolve.rs";

fn cargo(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(words).current_dir(top()).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn crates_use_one_another_in_one_direction() {
    let metadata = cargo(&["metadata", "--format-version=1", "--no-deps", "--offline"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<_> = packages.iter().map(|of| of["name"].as_str().unwrap()).collect();
    let found: BTreeMap<_, BTreeSet<_>> = packages
        .iter()
        .map(|package| {
            let uses = package["dependencies"].as_array().unwrap().iter();
            let uses = uses.map(|of| of["name"].as_str().unwrap());
            (package["name"].as_str().unwrap(), uses.filter(|name| names.contains(name)).collect())
        })
        .collect();
    let house = HOUSE.map(|(name, uses)| (name, uses.iter().copied().collect()));
    assert_eq!(found, BTreeMap::from(house));
}

#[test]
fn nothing_of_a_daemon_is_in_the_program_that_starts_for_every_command() {
    let tree = cargo(&["tree", "-p=sharedroot", "-e=normal", "--prefix=none", "--offline"]);
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("libcontainer"), "{tree}");
    let found: Vec<_> = OF_DAEMONS.iter().filter(|name| names.contains(**name)).collect();
    assert!(
        found.is_empty(),
        "{found:?} in the tree of sharedroot: `cargo tree -i NAME` says by whom"
    );
}

/// The shim of containerd serves with one thread and no async runtime. Its messages are prost's.
#[test]
fn nothing_but_messages_is_in_the_shim_besides() {
    let package = "-p=containerd-shim-sharedroot-v2";
    let tree = cargo(&["tree", package, "-e=normal", "--prefix=none", "--offline"]);
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("libcontainer"), "{tree}");
    let found: Vec<_> = OF_DAEMONS.iter().filter(|name| names.contains(**name)).collect();
    assert_eq!(found, [&"prost"], "`cargo tree -i NAME` says by whom");
}

/// The daemon that makes snapshots starts no container: it has no engine, and no TLS.
#[test]
fn the_snapshotter_knows_no_engine() {
    let tree = cargo(&["tree", "-p=sharedrootd", "-e=normal", "--prefix=none", "--offline"]);
    let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("tonic"), "{tree}");
    for name in ["libcontainer", "sharedroot", "sharedroot-engine", "rustls", "openssl"] {
        assert!(
            !names.contains(name),
            "{name} in the tree of sharedrootd: `cargo tree -i {name}` says by whom"
        );
    }
}

#[test]
fn unsafe_is_where_it_was_reviewed() {
    assert_eq!(with_word("unsafe"), WITH_UNSAFE.map(str::to_owned).into());
}

#[test]
fn paths_of_others_are_resolved_in_one_place() {
    // openat2(2) takes one of these.
    for word in ["ResolveFlags", "ResolveFlag", "open_how"] {
        let mut found = with_word(word);
        found.remove(RESOLVES);
        assert!(found.is_empty(), "{word} outside of {RESOLVES}: {found:?}");
    }
}

/// Files of the programs with the word in a line of code.
fn with_word(wanted: &str) -> BTreeSet<String> {
    let has_word = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
            .any(|word| word == wanted)
    };
    let found = code_files().into_iter().filter(has_word);
    found.map(|path| path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned()).collect()
}

/// All files of the programs' code.
fn code_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    CODE.iter().for_each(|dir| rust_files(&top().join(dir), &mut found));
    found
}

/// An `#[error(…)]` whose text has the words of the source of its error. The report prints the chain, so it would have these
/// words twice.
#[test]
fn no_error_prints_its_source() {
    let (mut seen, mut found) = (0, Vec::new());
    for file in code_files() {
        let text = fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("#[error(") {
            let attribute = in_brackets(&text[at + "#[error".len()..]);
            let item = &text[at + "#[error".len() + attribute.len()..];
            seen += usize::from(source_of(item).is_some());
            if source_of(item).is_some_and(|source| mentions(attribute, &source)) {
                let line = text[..at].lines().count() + 1;
                found.push(format!("{}:{line}: {attribute}", file.display()));
            }
        }
    }
    assert!(seen > 150, "{seen} errors with a source");
    assert!(
        found.is_empty(),
        "these print their source, which the report prints after them (a reason that a remedy follows is a field `cause`, and no \
         source): {found:#?}"
    );
}

/// A process chooses its name, its arguments and its environment, with any bytes. A file of `/proc/PID` that is read as text is
/// unreadable then, and a program that takes that for the end of the process can no longer signal it.
#[test]
fn no_file_of_a_process_is_read_as_text() {
    let mut found = Vec::new();
    for file in code_files() {
        let text = fs::read_to_string(&file).unwrap();
        let calls = text.match_indices("read_to_string(");
        let arguments = calls.map(|(at, call)| in_brackets(&text[at + call.len() - 1..]));
        found
            .extend(arguments.filter(|a| is_of_a_process(a)).map(|a| (file.clone(), a.to_owned())));
    }
    assert!(found.is_empty(), "read these with fs::read: {found:#?}");
    let wrong =
        [r#"(format!("/proc/{pid}/stat"))"#, r#"(dir.join("comm"))"#, r#"("/proc/7/environ")"#];
    assert!(wrong.into_iter().all(is_of_a_process));
    let fine =
        [r#"("/proc/self/uid_map")"#, r#"("/proc/filesystems")"#, r#"(dir.join("io.stat"))"#];
    assert!(!fine.into_iter().any(is_of_a_process));
}

/// Whether the argument names a file in which the kernel prints bytes of a process, or of whoever names what a process has.
fn is_of_a_process(argument: &str) -> bool {
    const FILES: [&str; 9] =
        ["stat", "comm", "status", "cmdline", "environ", "mountinfo", "mounts", "cgroup", "maps"];
    let by_number = argument.contains("/proc/{")
        || argument.split("/proc/").skip(1).any(|rest| rest.starts_with(|c: char| c.is_numeric()));
    let by_name = FILES.iter().any(|file| argument.contains(&format!("join(\"{file}\")")));
    by_number || by_name
}

/// From the first bracket to the one that closes it. Brackets in texts do not count.
fn in_brackets(text: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '{' if !quoted => depth += 1,
            ')' | '}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return &text[..=at];
                }
            }
            _ => {}
        }
    }
    text
}

/// The field that thiserror takes for the source: one of that name, or one that an attribute marks.
fn source_of(item: &str) -> Option<String> {
    // The fields of the struct or the variant. One without fields ends before the next bracket.
    let start = item.find(['(', '{', ',', ';'])?;
    let attributes = item[..start].matches("#[").count();
    assert!(attributes == 0, "an attribute between #[error] and its item: {}", &item[..start]);
    let fields = match &item[start..=start] {
        "(" | "{" => in_brackets(&item[start..]),
        _ => return None,
    };
    let code: String = fields.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let is_tuple = code.starts_with('(');
    for mark in ["#[source]", "#[from]"] {
        if let Some((before, after)) = code.split_once(mark) {
            let name = after.trim_start().trim_start_matches("pub ").split(':').next();
            let number = before.matches(',').count();
            return Some(if is_tuple { number.to_string() } else { name?.trim().to_owned() });
        }
    }
    let mut names = code.split([',', '{']).map(|field| field.trim().trim_start_matches("pub "));
    names.any(|field| field.starts_with("source:")).then(|| "source".to_owned())
}

/// Whether the arguments of `#[error(…)]` name the field, in the text or after it.
fn mentions(attribute: &str, field: &str) -> bool {
    let by_position = field == "0" && attribute.contains("{}") && !attribute.contains(',');
    let in_text =
        attribute.contains(&format!("{{{field}}}")) || attribute.contains(&format!("{{{field}:"));
    let after_it = attribute.match_indices(&format!(".{field}")).any(|(at, word)| {
        !attribute[at + word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
    });
    by_position || in_text || after_it
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|of| of == "rs") {
            found.push(path);
        }
    }
}
