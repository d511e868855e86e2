//! Everything on the host that a container runtime may make, and what is left over.
//!
//! A census asks the kernel and reads directories. It never asks sharedroot, because sharedroot is under test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::command::{out, run};
use crate::kernel_view::mounts_of;
use crate::lab::{RUN_DIR, STATE_DIR, wait_for};

/// How long the clean-up of Docker, containerd and the kernel may take after the command that began it.
const SETTLING: Duration = Duration::from_secs(60);

/// The state of the host at one moment: a set of lines, each of which begins with its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census(BTreeSet<String>);

impl Census {
    /// Takes a census.
    ///
    /// # Panics
    /// If device-mapper does not answer.
    #[track_caller]
    pub fn take() -> Self {
        crate::lab::only_in_lab();
        let mut seen = BTreeSet::new();
        devices(&mut seen);
        mounts(&mut seen);
        loops(&mut seen);
        for pool in pools() {
            for id in thin_ids(&pool) {
                seen.insert(format!("thin id {id} of {pool}"));
            }
        }
        for dir in [STATE_DIR, RUN_DIR, "/run/docker", "/run/containerd"] {
            files(Path::new(dir), &mut seen);
        }
        cgroups(Path::new("/sys/fs/cgroup"), &mut seen);
        processes(&mut seen);
        Self(seen)
    }

    /// Lines that begin with `kind`, such as `thin id`.
    pub fn of(&self, kind: &str) -> BTreeSet<String> {
        self.0.iter().filter(|line| line.starts_with(kind)).cloned().collect()
    }

    /// The differences to `before`, a line for each line that is new or missing.
    pub fn against(&self, before: &Self) -> String {
        let more = self.0.difference(&before.0).map(|line| format!("left over: {line}\n"));
        let less = before.0.difference(&self.0).map(|line| format!("missing: {line}\n"));
        more.chain(less).collect()
    }

    /// Waits until the host is as it was at this census.
    ///
    /// # Panics
    /// If the host does not become so; the message has the differences.
    #[track_caller]
    pub fn nothing_left(&self) {
        self.nothing_left_but(|_| false);
    }

    /// Waits until the host is as it was at this census, except for lines of [`Self::against`] that are `passing`.
    ///
    /// # Panics
    /// If there are other differences; the message has them.
    #[track_caller]
    pub fn nothing_left_but(&self, passing: impl Fn(&str) -> bool) {
        let end = Instant::now() + SETTLING;
        loop {
            let left = Self::take().against(self);
            let left: Vec<_> = left.lines().filter(|line| !passing(line)).collect();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "the host is not as before: {left:#?}");
            sleep(Duration::from_millis(200));
        }
    }
}

fn devices(seen: &mut BTreeSet<String>) {
    // dmsetup asks for one device after another, and fails if a device is removed meanwhile.
    let ask = ["dmsetup", "info", "-c", "--noheadings", "-o", "name,uuid,attr"];
    let list = wait_for("dmsetup lists the devices", || {
        let said = run(&ask);
        (said.status == 0).then_some(said.stdout)
    });
    seen.extend(list.lines().filter(|l| *l != "No devices found").map(|l| format!("device {l}")));
}

fn mounts(seen: &mut BTreeSet<String>) {
    // Docker keeps one network namespace for all containers without a network.
    let mounts = mounts_of("self").into_iter().filter(|m| !m.at.starts_with("/run/docker/netns/"));
    seen.extend(mounts.map(|m| format!("mount {} of {} ({})", m.at, m.source, m.fstype)));
}

fn loops(seen: &mut BTreeSet<String>) {
    for entry in fs::read_dir("/sys/block").expect("list /sys/block").flatten() {
        if let Ok(file) = fs::read_to_string(entry.path().join("loop/backing_file")) {
            seen.insert(format!("loop {} on {}", entry.file_name().display(), file.trim()));
        }
    }
}

/// The dm names of sharedroot's pools.
pub fn pools() -> Vec<String> {
    let list = out(&["dmsetup", "ls", "--target", "thin-pool"]);
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with("sharedroot-")).map(str::to_owned).collect()
}

/// The thin ids of an active pool, from a snapshot of its metadata.
#[track_caller]
pub fn thin_ids(pool: &str) -> Vec<String> {
    // "0 SECTORS thin-pool METADATA DATA ..."
    let table = out(&["dmsetup", "table", pool]);
    let metadata = table.split_whitespace().nth(3).expect("the metadata device in a pool's table");
    let uevent = fs::read_to_string(format!("/sys/dev/block/{metadata}/uevent"))
        .expect("the metadata device in /sys");
    let node = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME=")).expect("a DEVNAME");
    let node = format!("/dev/{node}");
    out(&["dmsetup", "message", pool, "0", "reserve_metadata_snap"]);
    let ids = run(&["thin_ls", "--metadata-snap", "--no-headers", "--format", "DEV", &node]);
    out(&["dmsetup", "message", pool, "0", "release_metadata_snap"]);
    ids.ok().split_whitespace().map(str::to_owned).collect()
}

/// Names below `dir` on the file system of `dir`. Without the locks and notes of a runtime, and the working files of the store,
/// which come and go at any time.
fn files(dir: &Path, seen: &mut BTreeSet<String>) {
    let Ok(top) = fs::symlink_metadata(dir) else { return };
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        let name = path.to_str().unwrap_or_default();
        let passing = [".lock", "-wal", "-shm"].iter().any(|end| name.ends_with(end))
            || name.starts_with("/run/sharedroot/lock")
            // The file of start times belongs to the host, and not to a container or a pool.
            || name.starts_with("/run/sharedroot/starts")
            || name.starts_with("/run/docker/netns/")
            // containerd's shims share a socket directory, with random names.
            || name.starts_with("/run/containerd/s/");
        if passing {
            continue;
        }
        seen.insert(format!("file {name}"));
        if found.is_dir() && found.dev() == top.dev() {
            files(&path, seen);
        }
    }
}

/// The runtimes.
const PROGRAMS: [&str; 3] = ["sharedroot", "runc", "crun"];

/// The command line of containerd's shim of ours. Its program is a mount that is attached nowhere, and so has no name.
const SHIM: &[u8] = b"containerd-shim-sharedroot-v2\0";

/// Running runtimes, and processes in other PID namespaces: each program with the number of its processes. Not their PIDs,
/// because a container that was started again has other PIDs.
fn processes(seen: &mut BTreeSet<String>) {
    let here = fs::read_link("/proc/self/ns/pid").expect("our pid namespace");
    let mut count = BTreeMap::<String, usize>::new();
    for entry in fs::read_dir("/proc").expect("list /proc").flatten() {
        let Ok(program) = fs::read_link(entry.path().join("exe")) else { continue };
        let Ok(namespace) = fs::read_link(entry.path().join("ns/pid")) else { continue };
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.starts_with(SHIM) {
            *count.entry("the shim of containerd".to_owned()).or_default() += 1;
        } else if namespace != here || PROGRAMS.contains(&&*name) {
            *count.entry(program.display().to_string()).or_default() += 1;
        }
    }
    for (program, count) in count {
        seen.extend((1..=count).map(|number| format!("process {program} ({number})")));
    }
}

fn cgroups(dir: &Path, seen: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            seen.insert(format!("cgroup {}", entry.path().display()));
            cgroups(&entry.path(), seen);
        }
    }
}
