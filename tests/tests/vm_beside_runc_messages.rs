//! What a user reads when a container cannot be made: the reason in words where runc has one, and no structure of the engine's.
//!
//! Guest: --limit 800

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

#[test]
fn vm_no_message_has_a_structure() {
    let runtime = Runtime::sharedroot();
    let inputs: [(&str, Value); 12] = [
        ("/linux/resources", json!({ "cpu": { "quota": 10, "period": 100 } })),
        ("/linux/resources", json!({ "memory": { "limit": 4096 } })),
        ("/linux/resources", json!({ "memory": { "swap": 4096 } })),
        ("/linux/resources", json!({ "unified": { "memory.nosuch": "1" } })),
        ("/linux/sysctl", json!({ "kernel.no_such": "1" })),
        ("/linux/sysctl", json!({ "kernel.shmmax": "abc" })),
        ("/process/rlimits", json!([{ "type": "RLIMIT_NOFILE", "soft": 9, "hard": u64::MAX / 2 }])),
        ("/process/cwd", json!("/etc/passwd")),
        ("/process/args", json!(["/no/such/program"])),
        ("/linux/namespaces/0/path", json!("/no/such/namespace")),
        ("/hooks", json!({ "prestart": [{ "path": "/no/such/hook" }] })),
        ("/hooks", json!({ "createContainer": [{ "path": "/usr/bin/false" }] })),
    ];
    for (at, value) in inputs {
        let bundle = Bundle::new(&runtime, &["true"]);
        bundle.edit(|config| {
            let (parent, name) = at.rsplit_once('/').unwrap();
            config.pointer_mut(parent).unwrap()[name] = value.clone();
        });
        let run = ["run", "--bundle", bundle.str(), &unique_name("why")];
        let refused = runtime.cmd(&run).run();
        assert_ne!(refused.status, 0, "{at} {value}: {refused}");
        println!("{at} {value}: {}", refused.stderr);
        in_words(&refused.stderr);
    }
}
