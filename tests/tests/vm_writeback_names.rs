//! A container makes names, and nothing but names: each costs it a system call. Its end takes time and memory that names do not
//! make long or large.
//!
//! Guest: --no-docker --limit 900

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags};
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::kept::{nothing_is_kept, root};
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::pool::small_bases;
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

/// As many names as ext4 lets a file have, less some.
const NAMES: usize = 60_000;

/// What the end of a container cost.
#[derive(Debug)]
struct Cost {
    time: Duration,
    /// The most memory that `delete` had, in KiB.
    memory: u64,
}

/// Runs `delete --force` and watches its memory.
fn delete(runtime: &Runtime, id: &str) -> Cost {
    let began = Instant::now();
    let words = ["--root", runtime.root(), "delete", "--force", id];
    let mut child = Command::new(runtime.program()).args(words).spawn().expect("run delete");
    let status = format!("/proc/{}/status", child.id());
    let mut memory = 0;
    let ended = loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        // Until it executes the program it has this process's memory.
        let text = if text.starts_with("Name:\tsharedroot\n") { text } else { String::new() };
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok());
        memory = peak.map_or(memory, |peak: u64| peak.max(memory));
        if let Some(ended) = child.try_wait().expect("wait for delete") {
            break ended;
        }
        sleep(Duration::from_millis(10));
    };
    assert!(ended.success(), "{ended}");
    Cost { time: began.elapsed(), memory }
}

fn dir(top: &Path, name: &str) -> File {
    fs::create_dir_all(top.join(name)).expect("make a directory");
    File::open(top.join(name)).expect("open a directory")
}

fn file(dir: &File, name: &str) {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
    rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600)).expect("make a file");
}

fn link(from: (&File, &str), to: (&File, &str)) {
    rustix::fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty()).expect("make a name");
}

/// `number` names of as few files as can have them, in one directory.
fn of_one_file(top: &Path, number: usize) {
    let dir = dir(top, "names");
    for n in 0..number {
        match (n / NAMES, n % NAMES) {
            (of, 0) => file(&dir, &format!("f{of}")),
            (of, _) => link((&dir, &format!("f{of}")), (&dir, &format!("n{n}"))),
        }
    }
}

/// Two names of each of `number` / 2 files, in two directories.
fn of_many_files(top: &Path, number: usize) {
    let (one, two) = (dir(top, "one"), dir(top, "two"));
    for n in 0..number / 2 {
        file(&one, &n.to_string());
        link((&one, &n.to_string()), (&two, &n.to_string()));
    }
}

/// Names of 100 files, in directories that lie deep; each directory has one of each file.
fn in_many_directories(top: &Path, number: usize) {
    let deep = ["d"; 40].join("/");
    let first = dir(top, &format!("{deep}/first"));
    (0..100).for_each(|n| file(&first, &n.to_string()));
    for place in 1..number / 100 {
        let here = dir(top, &format!("{deep}/{}/{place}", place % 7));
        (0..100).for_each(|n| link((&first, &n.to_string()), (&here, &n.to_string())));
    }
}

/// Starts a container, plants `number` names and ends it. The engine's overlay must have all of them.
fn ends_with(plant: fn(&Path, usize), number: usize) -> Cost {
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().ok();
    let container = runtime.container(id.clone());
    plant(&root(&container), number);
    std::mem::forget(container);
    let cost = delete(&runtime, &id);
    eprintln!("{number} names: {cost:?}");
    assert_eq!(names_below(Path::new(&bundle.upper)), number);
    cost
}

/// How many names of files there are.
fn names_below(top: &Path) -> usize {
    out(&["find", top.to_str().unwrap(), "-type", "f", "-links", "+1"]).lines().count()
}

#[test]
fn vm_many_names_end_soon() {
    only_in_lab();
    let _config = small_bases();
    for plant in [of_one_file, of_many_files, in_many_directories] as [fn(&Path, usize); 3] {
        let cost = ends_with(plant, 10_000);
        assert!(cost.time < Duration::from_secs(30), "Docker waits no longer: {cost:?}");
    }
    nothing_is_kept();
}

#[test]
fn vm_names_cost_no_memory() {
    only_in_lab();
    let _config = small_bases();
    let few = ends_with(of_one_file, 100);
    let many = ends_with(of_one_file, 100_000);
    assert!(many.memory < few.memory + (4 << 10), "{few:?}, {many:?}");
    nothing_is_kept();
}
