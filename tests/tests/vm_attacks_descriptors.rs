//! Descriptors and working directories that lead out of a container (CVE-2024-21626). Generic, but crun keeps what its
//! caller left open until execve(2).
//!
//! Guest: --no-docker --takes 35

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;
use sharedroot_tests::attack::{Target, targets};
use sharedroot_tests::command::{Cmd, Output, unique_name};
use sharedroot_tests::kernel_view::mounts_of;
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::runtime::Runtime;

/// A program that only the host has, in a directory that a careless caller of the runtime has open as descriptor 8.
struct Host(PathBuf);

impl Host {
    /// Below `/run`, where runtimes have their own directories.
    fn new() -> Self {
        let dir = Path::new("/run").join(unique_name("host"));
        fs::create_dir(&dir).unwrap();
        fs::copy("/bin/busybox", dir.join("sh")).unwrap();
        Self(dir)
    }

    /// What would find the program from descriptor `n`: from the caller's, and from one of any directory, whether its
    /// mounts are the host's or were taken apart when the container's root was entered.
    fn ways(&self, n: u32) -> [String; 3] {
        let (path, up) = (self.0.display(), "../".repeat(12));
        let name = self.0.file_name().expect("a directory of its own").display();
        let fd = format!("/proc/self/fd/{n}");
        [format!("{fd}/sh"), format!("{fd}/{up}{path}/sh"), format!("{fd}/{up}{name}/sh")]
    }

    /// The runtime, called by one who leaves descriptors 3 to 8 open; 3 to 7 are the host's root.
    fn careless(&self, runtime: &Runtime, words: &[&str]) -> Output {
        let line = format!("exec 3< / 4< / 5< / 6< / 7< / 8< {}; exec \"$@\"", self.0.display());
        let head = ["-c", &line, "sh", runtime.program(), "--root", runtime.root()];
        Cmd::new("sh").args(&head).args(words).run()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Descriptors that a runtime may have when it looks for the program.
const NUMBERS: std::ops::Range<u32> = 3..12;

#[test]
fn vm_no_program_is_found_through_a_descriptor() {
    let (runtime, host) = (Runtime::of_env(), Host::new());
    for target in targets(&runtime, &["sleep", "1000"], |_| {}) {
        let container = target.start(&runtime);
        for way in NUMBERS.flat_map(|n| host.ways(n)) {
            let words = ["exec", &container.id, &way, "-c", "echo escaped"];
            let exec = host.careless(&runtime, &words);
            assert!(
                exec.status != 0 && !exec.stdout.contains("escaped"),
                "{}: {exec}",
                target.kind
            );

            target.edit(|config| config["process"]["args"] = json!([way, "-c", "echo escaped"]));
            let words = ["run", "--bundle", target.str(), &unique_name("run")];
            let run = host.careless(&runtime, &words);
            assert!(run.status != 0 && !run.stdout.contains("escaped"), "{}: {run}", target.kind);
        }
        // The means are real: with the descriptor passed on, the program is found.
        let words =
            ["exec", "--preserve-fds", "6", &container.id, &host.ways(8)[0], "-c", "echo escaped"];
        assert_eq!(host.careless(&runtime, &words).ok(), "escaped", "{}", target.kind);
    }
}

#[test]
fn vm_no_working_directory_is_outside() {
    let (runtime, host) = (Runtime::of_env(), Host::new());
    let link = |n: u32| format!("/link{n}");
    let image = |root: &Path| {
        for n in NUMBERS {
            symlink(format!("/proc/self/fd/{n}"), root.join(&link(n)[1..])).unwrap();
        }
    };
    // What a process finds where it stands. A runtime may also refuse, or put it inside.
    let look = ["sh", "-c", "ls -a . .. ../.. ../../.."];
    let name = host.0.file_name().unwrap().to_str().unwrap();
    for target in targets(&runtime, &["sleep", "1000"], image) {
        let container = target.start(&runtime);
        for cwd in NUMBERS.flat_map(|n| [format!("/proc/self/fd/{n}"), link(n)]) {
            let words = [&["exec", "--cwd", &cwd, &container.id][..], &look].concat();
            let exec = host.careless(&runtime, &words);
            assert!(!exec.stdout.contains(name), "{}: {exec}", target.kind);
            target.edit(|config| {
                config["process"]["cwd"] = json!(cwd);
                config["process"]["args"] = json!(look);
            });
            let run =
                host.careless(&runtime, &["run", "--bundle", target.str(), &unique_name("run")]);
            assert!(!run.stdout.contains(name), "{}: {run}", target.kind);
        }
        // The means are real: a process that was given the descriptor gets there.
        let go = ["sh", "-c", "cd /proc/self/fd/7 && ls run"];
        let words = [&["exec", "--preserve-fds", "5", &container.id][..], &go].concat();
        assert!(host.careless(&runtime, &words).ok().contains(name), "{}", target.kind);
    }
}

/// What a process has open beyond its three streams, by its paths in `/proc`, but for sockets and pipes, which lead
/// nowhere.
fn open_of(pid: i32) -> Vec<PathBuf> {
    let list = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let beyond = list.filter(|entry| !["0", "1", "2"].iter().any(|n| entry.file_name() == *n));
    let leads_somewhere = |path: &PathBuf| {
        let kind = fs::metadata(path).map(|found| found.file_type());
        kind.is_ok_and(|kind| !kind.is_socket() && !kind.is_fifo())
    };
    beyond.map(|entry| entry.path()).filter(leads_somewhere).collect()
}

/// Whether it is procfs with nothing but the container's own processes (`subset=pid`), attached nowhere.
fn is_private_procfs(dir: &Path) -> bool {
    dir.join("thread-self").is_symlink()
        && !dir.join("sys").exists()
        && !dir.join("../run").exists()
}

#[track_caller]
fn nothing_open(pid: i32, what: &str, target: &Target) {
    // `start` does not wait for execve(2).
    wait_for("the container's program runs", || {
        (fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() == "sleep\n").then_some(())
    });
    let open = open_of(pid);
    assert!(open.is_empty(), "{what} on a root {}: {open:?}", target.kind);
}

#[test]
fn vm_no_descriptor_of_the_host_is_open() {
    let (runtime, host, dir) = (Runtime::of_env(), Host::new(), TempDir::new("pids"));
    let file = dir.0.join("pid");
    let pid_file = file.to_str().unwrap();
    let pid = || fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    for target in targets(&runtime, &["sleep", "1000"], |_| {}) {
        let container = runtime.container(unique_name("open"));
        let log = dir.0.join("log");
        let log = ["--log", log.to_str().unwrap(), "--log-format", "json"];
        let flags = ["create", "--bundle", target.str(), "--pid-file", pid_file, &container.id];
        let created = host.careless(&runtime, &[&log[..], &flags].concat());
        assert_eq!(created.status, 0, "{created}");
        // Waiting for `start`, the process has not yet been through execve(2), but is in the container.
        for open in open_of(pid()) {
            let link = fs::read_link(&open).unwrap();
            assert!(!open.is_dir() || is_private_procfs(&open), "{}: {link:?}", target.kind);
        }
        container.call("start", &[]).ok();
        nothing_open(pid(), "init", &target);
        let flags = ["exec", "--detach", "--pid-file", pid_file, &container.id, "sleep", "1000"];
        assert_eq!(host.careless(&runtime, &flags).status, 0);
        nothing_open(pid(), "exec", &target);
        let flags =
            ["exec", "--detach", "--preserve-fds", "5", "--pid-file", pid_file, &container.id];
        assert_eq!(host.careless(&runtime, &[&flags[..], &["sleep", "1000"]].concat()).status, 0);
        let passed = open_of(pid());
        assert!(passed.len() == 5, "3 to 7 were passed on: {passed:?}");
        let mounts = mounts_of(&container.pid().to_string());
        assert!(mounts.iter().all(|mount| !mount.at.starts_with("/run/sharedroot")), "{mounts:#?}");
    }
}
