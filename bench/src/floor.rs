//! The floor: the system calls that no runtime can leave out for this configuration, in one process. These are mkdir of the
//! cgroup, clone3 into namespaces and cgroup, the mounts and devices, pivot_root, execve, wait, rmdir. The floor has no state,
//! no capabilities, no seccomp, and no second or third process of a command.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, mount_remount, unmount,
};
use rustix::process::{WaitOptions, chdir, pivot_root, waitpid};
use serde_json::Value;
use sharedroot_tests::command::Cmd;

use crate::clock::Clock;

/// The steps of one container, in order.
const STEPS: [&str; 6] = ["cgroup", "clone", "mounts", "pivot, masks", "exec, run, wait", "rmdir"];

/// The name of the floor as an arm, and of its only operation.
pub const FLOOR: &str = "floor";
/// See [`FLOOR`].
pub const CONTAINER: &str = "container";

/// Containers without a runtime.
#[derive(Debug)]
pub struct Floor {
    bundle: PathBuf,
    cgroup: PathBuf,
}

impl Floor {
    /// The bundle's program must end by itself. `cgroup` is a path in the cgroup v2 hierarchy that does not exist yet.
    #[must_use]
    pub fn new(bundle: PathBuf, cgroup: PathBuf) -> Self {
        Self { bundle, cgroup }
    }

    /// Runs one container, in a process of its own, whose start and end are not measured.
    ///
    /// # Panics
    /// If this program does not begin with [`run_if_asked`], or a step of the container fails.
    #[must_use]
    pub fn container(&self) -> Clock {
        let own = std::env::current_exe().expect("the path of this program");
        let text = |path: &Path| path.to_str().expect("the benchmark's paths are ASCII").to_owned();
        let words = [FLOOR, &text(&self.bundle), &text(&self.cgroup)];
        let printed = Cmd::new(&text(&own)).args(&words).run().ok();
        let mut clock = Clock::default();
        for (step, time) in STEPS.into_iter().zip(printed.split_whitespace()) {
            clock.add(step, time.parse().expect("a time"));
        }
        clock
    }
}

/// Runs the container if this process was started by [`Floor::container`], and returns true in that case.
#[must_use]
pub fn run_if_asked() -> bool {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [word, bundle, cgroup] = &words[..] else { return false };
    let asked = word == FLOOR;
    if asked {
        run_once(Path::new(bundle), Path::new(cgroup));
    }
    asked
}

/// Starts and ends one container, and prints the milliseconds of each step.
fn run_once(bundle: &Path, cgroup: &Path) {
    let config = fs::read(bundle.join("config.json")).expect("read config.json");
    let config: Value = serde_json::from_slice(&config).expect("config.json is JSON");
    let (mut told, tells) = std::io::pipe().expect("a pipe");
    let start = Instant::now();
    let ms = || start.elapsed().as_secs_f64() * 1e3;

    fs::create_dir(cgroup).expect("make the cgroup");
    let made = ms();
    let dir = File::open(cgroup).expect("open the cgroup");
    let Some(pid) = crate::clone::into_container(dir.as_fd()) else {
        drop(told);
        inside(&config, ms, tells);
    };
    drop(tells);
    let mut text = String::new();
    // The read ends at execve, which closes the child's end of the pipe.
    told.read_to_string(&mut text).expect("read the child's times");
    let status = waitpid(Some(pid), WaitOptions::empty()).expect("wait").expect("it has ended").1;
    assert_eq!(status.exit_status(), Some(0), "the container");
    let ended = ms();
    fs::remove_dir(cgroup).expect("remove the cgroup");
    let removed = ms();

    let inside: Vec<f64> = text.split_whitespace().map(|t| t.parse().expect("a time")).collect();
    let [cloned, mounted, pivoted] = inside[..] else { panic!("the container printed {text:?}") };
    let marks = [0.0, made, cloned, mounted, pivoted, ended, removed];
    marks.windows(2).for_each(|pair| print!("{:.4} ", pair[1] - pair[0]));
}

/// The steps in the container, until it executes the program.
fn inside(config: &Value, ms: impl Fn() -> f64, mut tells: impl Write) -> ! {
    let mut mark = || writeln!(tells, "{:.4}", ms()).expect("tell the time");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let word = |value: &Value| value.as_str().expect("a text").to_owned();
    mark();
    let root = PathBuf::from(word(&config["root"]["path"]));
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).expect("make / a slave");
    mount_bind_recursive(&root, &root).expect("bind the root");
    chdir(&root).expect("enter the root");
    for entry in list(&config["mounts"]) {
        mount_one(&entry);
    }
    devices();
    mark();
    pivot_root(".", ".").expect("pivot_root");
    unmount(".", UnmountFlags::DETACH).expect("leave the old root");
    chdir("/").expect("enter the new root");
    mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, "").expect("make / read-only");
    for path in list(&config["linux"]["readonlyPaths"]).iter().map(word) {
        if mount_bind(&path, &path).is_ok() {
            mount_remount(&path, MountFlags::BIND | MountFlags::RDONLY, "").expect("remount");
        }
    }
    for path in list(&config["linux"]["maskedPaths"]).iter().map(word) {
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => {
                mount("tmpfs", &path, "tmpfs", MountFlags::RDONLY, None).expect("mask a directory");
            }
            Ok(_) => mount_bind("/dev/null", &path).expect("mask a file"),
            Err(_) => {}
        }
    }
    nix::unistd::sethostname(word(&config["hostname"])).expect("sethostname");
    mark();
    let error = Command::new(word(&config["process"]["args"][0])).env_clear().exec();
    panic!("execve: {error}");
}

fn mount_one(entry: &Value) {
    let word = |key: &str| entry[key].as_str().unwrap_or_default();
    let at = Path::new(word("destination")).strip_prefix("/").expect("an absolute path");
    let _ = fs::create_dir(at);
    let (mut flags, mut data) = (MountFlags::empty(), Vec::new());
    for option in entry["options"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        match option {
            "nosuid" => flags |= MountFlags::NOSUID,
            "noexec" => flags |= MountFlags::NOEXEC,
            "nodev" => flags |= MountFlags::NODEV,
            "ro" => flags |= MountFlags::RDONLY,
            "strictatime" => flags |= MountFlags::STRICTATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            other => data.push(other),
        }
    }
    let fstype = if word("type") == "cgroup" { "cgroup2" } else { word("type") };
    let data = std::ffi::CString::new(data.join(",")).expect("no NUL in an option");
    mount(word("source"), at, fstype, flags, data.as_c_str())
        .unwrap_or_else(|e| panic!("mount {}: {e}", at.display()));
}

fn devices() {
    const NODES: [(&str, u32, u32); 6] = [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ];
    rustix::process::umask(Mode::empty());
    for (name, major, minor) in NODES {
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, format!("dev/{name}"), FileType::CharacterDevice, mode, makedev(major, minor))
            .unwrap_or_else(|e| panic!("make /dev/{name}: {e}"));
    }
    let links = [
        ("/proc/self/fd", "dev/fd"),
        ("/proc/self/fd/0", "dev/stdin"),
        ("/proc/self/fd/1", "dev/stdout"),
        ("/proc/self/fd/2", "dev/stderr"),
        ("/proc/kcore", "dev/core"),
        ("pts/ptmx", "dev/ptmx"),
    ];
    for (to, at) in links {
        symlink(to, at).unwrap_or_else(|e| panic!("link {at}: {e}"));
    }
}
