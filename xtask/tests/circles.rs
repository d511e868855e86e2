//! No module of the programs uses, directly or through other modules, a module that uses it. So each module can be read, and
//! moved, after the modules that it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates outside of the folder `crates/`. All crates in that folder are checked, too.
const OTHERS: [&str; 5] = ["containerd-shim", "dm", "shim", "snapshotter", "xtask"];

/// A crate's modules by their paths (`import/files`), and the modules that each one uses. A `mod.rs` and a `lib.rs` are tables
/// of contents, and do not count as modules.
type Modules = BTreeMap<String, BTreeSet<String>>;

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|of| of == "rs") {
            found.push(path);
        }
    }
}

/// The module of a file; `None` for tests, and for tables of contents.
fn module(root: &Path, file: &Path) -> Option<String> {
    let path = file.strip_prefix(root).unwrap().with_extension("");
    let name = path.file_name()?.to_str()?;
    let gathers = ["lib", "main", "mod"].contains(&name);
    let tests = name == "tests" || name == "testing" || name.ends_with("_tests");
    (!gathers && !tests).then(|| path.to_str().unwrap().to_owned())
}

/// The code of a file without its tests and comments.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Each path in the code that begins with `crate` or `super`, as its parts; a group in braces is several paths.
fn paths(code: &str) -> Vec<Vec<String>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for head in ["crate::", "super::"] {
        for (at, _) in code.match_indices(head) {
            // This is the middle of `super::super::…`, or a part of another crate's path.
            if code[..at].ends_with("::") || code[..at].ends_with(is_name) {
                continue;
            }
            let (mut parts, mut rest) = (Vec::new(), &code[at..]);
            loop {
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                parts.push(rest[..end].to_owned());
                rest = &rest[end..];
                match rest.strip_prefix("::") {
                    Some(more) if more.starts_with(is_name) => rest = more,
                    Some(more) if more.starts_with('{') => {
                        let group = more[1..].split('}').next().unwrap();
                        for item in group.split(',').map(str::trim).filter(|item| !item.is_empty())
                        {
                            let name: String = item.chars().take_while(|c| is_name(*c)).collect();
                            found.push(parts.iter().cloned().chain([name]).collect());
                        }
                        break;
                    }
                    _ => {
                        found.push(parts);
                        break;
                    }
                }
            }
        }
    }
    found
}

/// The module that a path in the module `from` names.
fn leads_to(modules: &BTreeSet<String>, from: &str, parts: &[String]) -> Option<String> {
    let mut way: Vec<&str> = match parts[0].as_str() {
        "crate" => Vec::new(),
        _ => from.split('/').collect(),
    };
    for part in parts {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(way.pop()),
            name => way.push(name),
        }
    }
    // The longest beginning of the path that is a module.
    (1..=way.len()).rev().map(|length| way[..length].join("/")).find(|path| modules.contains(path))
}

fn modules(root: &Path) -> Modules {
    let mut all = Vec::new();
    files(root, &mut all);
    let named: Vec<_> =
        all.iter().filter_map(|file| Some((module(root, file)?, file.clone()))).collect();
    let names: BTreeSet<_> = named.iter().map(|(name, _)| name.clone()).collect();
    let uses = |(name, file): (String, PathBuf)| {
        let paths = paths(&code(&file));
        let used = paths.iter().filter_map(|parts| leads_to(&names, &name, parts));
        let used = used.filter(|used| *used != name).collect();
        (name, used)
    };
    named.into_iter().map(uses).collect()
}

/// The modules in circles. Modules that use no remaining module are removed again and again, until only circles and their users
/// remain.
fn circles(mut modules: Modules) -> BTreeSet<String> {
    loop {
        let left: BTreeSet<_> = modules.keys().cloned().collect();
        let before = modules.len();
        modules.retain(|_, uses| uses.iter().any(|used| left.contains(used)));
        if modules.len() == before {
            break;
        }
    }
    // Then modules that no remaining module uses are removed, until only circles remain.
    loop {
        let used: BTreeSet<_> = modules.values().flatten().cloned().collect();
        let before = modules.len();
        modules.retain(|name, _| used.contains(name));
        if modules.len() == before {
            return modules.into_keys().collect();
        }
    }
}

fn crates(top: &Path) -> Vec<PathBuf> {
    let libraries = fs::read_dir(top.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    libraries.chain(OTHERS.map(|name| top.join(name))).collect()
}

#[test]
fn the_house_has_no_circle() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = BTreeMap::new();
    for root in crates(top) {
        let modules = modules(&root.join("src"));
        assert!(!modules.is_empty() || root.ends_with("seeds"), "{}", root.display());
        let circles = circles(modules);
        if !circles.is_empty() {
            found.insert(root, circles);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_circle_is_found() {
    let of = |list: &[(&str, &[&str])]| -> Modules {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        list.iter().map(|(name, uses)| ((*name).to_owned(), owned(uses))).collect()
    };
    let tree = of(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])]);
    assert!(circles(tree).is_empty());
    let ring =
        of(&[("top", &["a"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a", "low"]), ("low", &[])]);
    assert_eq!(circles(ring), ["a", "b", "c"].map(str::to_owned).into());
    let uses = "use crate::a::{self, B};\nfn f() { super::super::c::d(); other_crate::e() }";
    assert_eq!(
        paths(uses).iter().map(|parts| parts.join("::")).collect::<Vec<_>>(),
        ["crate::a::self", "crate::a::B", "super::super::c::d"]
    );
}
