//! What a user reads when a container cannot be made: the reason in words where runc has one, and no structure of the engine's.
//!
//! Guest: --limit 800 --shim long

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use sharedroot_tests::beside::in_words;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::unique_name;
use sharedroot_tests::docker::{KINDS, docker_run};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

#[test]
fn vm_docker_says_why() {
    let dir = TempDir::new("why");
    fs::create_dir(dir.0.join("dir")).unwrap();
    fs::write(dir.0.join("file"), "x").unwrap();
    let volume = |from: &str, to: &str| format!("--volume={}/{from}:{to}", dir.str());
    for (flag, words) in [
        (volume("file", "/bin"), &["not a directory", "Are you trying to mount a directory"][..]),
        (volume("dir", "/etc/passwd"), &["not a directory", "Are you trying to mount a directory"]),
        ("--tmpfs=/etc/passwd".to_owned(), &["not a directory"]),
        ("--tmpfs=/x:size=abc".to_owned(), &["invalid argument", "size=abc"]),
        ("--ulimit=nofile=99999999999".to_owned(), &["rlimit", "not permitted"]),
        (
            "--sysctl=net.no.such=1".to_owned(),
            &["open /proc/sys/net/no/such: no such file or directory"],
        ),
        ("--sysctl=net.ipv4.ip_forward=abc".to_owned(), &["invalid argument"]),
    ] {
        for kind in KINDS {
            let words_of = |runtime| {
                let refused = docker_run(runtime, &[kind, &[&flag, "busybox", "true"]].concat());
                assert_ne!(refused.status, 0, "{refused}");
                (refused.status, refused.stderr.to_lowercase(), refused.stderr)
            };
            let ((runcs, _, _), (ours, lower, said)) = (words_of("runc"), words_of("sharedroot"));
            assert_eq!(ours, runcs, "Docker's exit code for {flag}: {said}");
            in_words(&said);
            for word in words {
                assert!(lower.contains(&word.to_lowercase()), "{word:?} is not in: {said}");
            }
        }
    }
}

#[test]
fn vm_docker_says_why_there_is_no_directory_to_start_in() {
    let dir = TempDir::new("start");
    fs::write(dir.0.join("file"), "x").unwrap();
    symlink("/v/nowhere", dir.0.join("dangling")).unwrap();
    symlink("loop", dir.0.join("loop")).unwrap();
    let volume = format!("--volume={}:/v", dir.str());
    for (start, words) in
        [("file", "not a directory"), ("dangling", "not a directory"), ("loop", "symbolic links")]
    {
        let start = format!("--workdir=/v/{start}");
        for kind in KINDS {
            let words_of = |runtime| {
                docker_run(runtime, &[kind, &[&volume, &start, "busybox", "pwd"]].concat())
            };
            let (runcs, ours) = (words_of("runc"), words_of("sharedroot"));
            assert_eq!(ours.status, runcs.status, "Docker's exit code for {start}: {ours}");
            in_words(&ours.stderr);
            assert!(ours.stderr.to_lowercase().contains(words), "{words:?} is not in: {ours}");
        }
    }
}

/// Runs a bundle with each value, which the engine or the kernel refuses: the reason has these words, and no structure.
#[track_caller]
fn refused(inputs: &[(&str, Value, &str)]) {
    let runtime = Runtime::sharedroot();
    let mut others = Vec::new();
    for (at, value, words) in inputs {
        let bundle = Bundle::new(&runtime, &["true"]);
        bundle.edit(|config| {
            let (parent, name) = at.rsplit_once('/').unwrap();
            match config.pointer_mut(parent).unwrap() {
                Value::Array(list) => list.insert(name.parse().unwrap(), value.clone()),
                object => object[name] = value.clone(),
            }
        });
        let run = ["run", "--bundle", bundle.str(), &unique_name("why")];
        let refused = runtime.cmd(&run).run();
        assert_ne!(refused.status, 0, "{at} {value}: {refused}");
        println!("{at} {value}: {}", refused.stderr);
        in_words(&refused.stderr);
        if !refused.stderr.contains(words) {
            others.push(format!("{at}: {words:?} is not in: {}", refused.stderr));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}

#[test]
fn vm_no_message_about_a_limit_has_a_structure() {
    let unlimited = json!([{ "type": "RLIMIT_NOFILE", "soft": 9, "hard": u64::MAX / 2 }]);
    let resources = "/linux/resources";
    refused(&[
        (resources, json!({ "cpu": { "quota": 10, "period": 100 } }), "cpu.max: Invalid argument"),
        (resources, json!({ "memory": { "limit": 4096 } }), "container init was OOM-killed"),
        (
            resources,
            json!({ "memory": { "swap": 4096 } }),
            "linux.resources.memory: unable to set swap limit without memory limit",
        ),
        (
            resources,
            json!({ "unified": { "nosuch.max": "1" } }),
            "linux.resources.unified: controller \"nosuch\" not available",
        ),
        (
            "/linux/sysctl",
            json!({ "kernel.no_such": "1" }),
            "sysctl kernel.no_such is not in a separate kernel namespace",
        ),
        (
            "/linux/sysctl",
            json!({ "kernel.shmmax": "abc" }),
            "failed to set sysctl kernel.shmmax=abc: Invalid argument",
        ),
        ("/process/rlimits", unlimited, "process.rlimits: set RLIMIT_NOFILE: EPERM"),
    ]);
}

#[test]
fn vm_no_message_has_a_structure() {
    let ipc = json!([{ "type": "mount" }, { "type": "uts" }, { "type": "ipc", "path": "/proc/1/ns/net" }]);
    let memory = json!({
        "destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": ["nodev", "size=abc"],
    });
    let missing = json!({
        "destination": "/x", "type": "bind", "source": "/no/such/source", "options": ["rbind"],
    });
    refused(&[
        ("/process/cwd", json!("/etc/passwd"), "process.cwd: /etc/passwd: not a directory"),
        (
            "/process/args",
            json!(["/no/such/program"]),
            "exec: \"/no/such/program\": stat /no/such/program: no such file or directory",
        ),
        (
            "/linux/namespaces/0/path",
            json!("/no/such/namespace"),
            "linux.namespaces[0].path: /no/such/namespace: No such file or directory",
        ),
        ("/linux/namespaces", ipc, "join the Ipc namespace \"/proc/1/ns/net\": "),
        ("/mounts/0", memory, "mount \"tmpfs\" at \"/x\" with nodev,size=abc: "),
        (
            "/mounts/0",
            missing,
            "failed to canonicalize \"/no/such/source\": No such file or directory",
        ),
        (
            "/hooks",
            json!({ "prestart": [{ "path": "/no/such/hook" }] }),
            "the hook /no/such/hook: No such file or directory",
        ),
        (
            "/hooks",
            json!({ "createContainer": [{ "path": "/usr/bin/false" }] }),
            "create container hooks: failed to run hooks: hook command exited with non-zero exit code: 1",
        ),
    ]);
}
