//! A new version of the package under running containers of containerd's shim (docs/containerd-shim.md): the old server serves
//! its containers to their end, and a container that comes later has a server with the new program, also in the same group.
//!
//! Guest: --with packages --alone --limit 600 --takes 40

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;

use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Cmd, out};
use sharedroot_tests::lab::{TempDir, only_in_lab, wait_for};
use sharedroot_tests::package::{SHIM, built, later};
use sharedroot_tests::shim::{IMAGE, INSTALLED, RUNTIMES, Task, ctr, import, nothing_runs};

#[track_caller]
fn install(package: &str) {
    Cmd::new("dpkg").args(&["-i", package]).env("DEBIAN_FRONTEND", "noninteractive").run().ok();
}

#[track_caller]
fn grouped() -> Task {
    let flags = ["--read-only", "--null-io", "--annotation", "io.containerd.runc.v2.group=g"];
    Task::run(RUNTIMES[1], &flags, &["sleep", "1000"])
}

/// The file that a path leads to, also if it has no name any more.
#[track_caller]
fn inode(path: &str) -> u64 {
    fs::metadata(path).unwrap_or_else(|e| panic!("{path}: {e}")).ino()
}

#[track_caller]
fn program(pid: i32) -> u64 {
    inode(&format!("/proc/{pid}/exe"))
}

fn lives(pid: i32) -> bool {
    fs::exists(format!("/proc/{pid}")).expect("a look")
}

/// Kills and removes a task. Its exit status must be known.
#[track_caller]
fn end(task: &Task) {
    ctr(&["task", "kill", "-s", "SIGKILL", &task.0]).ok();
    task.becomes(Some("STOPPED"));
    let said = ctr(&["task", "rm", &task.0]).fails(0);
    assert!(said.contains("exit code 137"), "{said}");
}

#[test]
fn vm_an_upgrade_keeps_containers_and_serves_later_ones_with_the_new_program() {
    only_in_lab();
    assert!(!fs::exists(INSTALLED).expect("look"), "another test has installed the shim");
    let (work, package) = (TempDir::new("package"), built("deb"));
    let later = later(&package, &work);
    install(&package);
    import();
    // The first container and the first exec make the base and directories, which stay.
    let first = grouped();
    assert_eq!(first.exec("echo hello"), "0 hello");
    drop(first);
    nothing_runs();
    let before = Census::take();

    let (stays, goes) = (grouped(), grouped());
    let (server, old) = (stays.server(), inode(SHIM));
    assert_eq!((goes.server(), program(server)), (server, old));
    let id = stays.0.clone();
    let under_way = thread::spawn(move || {
        let script = "echo began > /dev/shm/began; while [ -e /dev/shm/began ]; do :; done; exit 5";
        ctr(&["task", "exec", "--exec-id", "under-way", &id, "sh", "-c", script]).status
    });
    wait_for("the exec runs", || (stays.exec("cat /dev/shm/began") == "0 began").then_some(()));
    install(&later);
    let new = inode(SHIM);
    assert_ne!(new, old, "there is a new program");

    // The old server goes on, whatever it is asked for.
    assert_eq!(stays.exec("rm /dev/shm/began; echo hello; exit 3"), "3 hello");
    assert_eq!(under_way.join().expect("the exec"), 5);
    assert_eq!((stays.server(), program(server)), (server, old));
    ctr(&["task", "pause", &stays.0]).ok();
    ctr(&["task", "resume", &stays.0]).ok();

    // A later container of the group.
    let comes = grouped();
    assert_ne!(comes.server(), server);
    assert_eq!(program(comes.server()), new);
    assert_eq!(comes.exec("echo hello"), "0 hello");

    // Each container ends with its own server. A new spawner of the old server has the old program, too.
    let spawner = goes.shims().into_iter().chain(stays.shims()).find(|pid| *pid != server);
    out(&["kill", "-KILL", &spawner.expect("a spawner").to_string()]);
    assert_eq!(goes.exec("exit 4"), "4");
    let spawner = goes.shims().into_iter().chain(stays.shims()).find(|pid| *pid != server);
    assert_eq!(program(spawner.expect("another spawner")), old);
    end(&goes);
    assert!(lives(server), "it has one more container");
    end(&stays);
    wait_for("the old server ends with its last container", || (!lives(server)).then_some(()));
    assert_eq!(comes.exec("echo hello"), "0 hello");
    assert_eq!(grouped().server(), comes.server(), "the group has one server again");
    assert_eq!(ctr(&["image", "ls", "-q"]).ok(), IMAGE);
    drop((stays, goes, comes));
    nothing_runs();
    before.nothing_left();
}
