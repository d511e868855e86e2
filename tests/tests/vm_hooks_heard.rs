//! What a failing hook wrote is in the message, beside runc: it is all that a user of Docker has of a driver that is not loaded.
//! With cgroupfs and with systemd's driver, for the engine has a way of its own for each.
//!
//! Guest: --no-docker --systemd

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sharedroot_tests::beside::in_words;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{Cmd, Output, out, unique_name};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

/// How the cgroup is made: without systemd, and by it.
const WAYS: [&[&str]; 2] = [&[], &["--systemd-cgroup"]];
const OUTSIDE: [&str; 3] = ["prestart", "createRuntime", "createContainer"];

/// A shell that writes `said` and ends with `status`.
fn says(said: &str, status: i32) -> Value {
    let script = format!("echo {said} >&2; exit {status}");
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script] })
}

/// A failed `run` of a container with these hooks: the command's end, and its log.
#[track_caller]
fn refused(program: &str, way: &[&str], kind: &str, hooks: &Value) -> (Output, String) {
    let (runtime, root) = (Runtime::sharedroot(), TempDir::new("root"));
    let bundle = Bundle::new(&runtime, &["sleep", "9"]);
    let id = unique_name("hook");
    let systemd = format!("system.slice:lab:{id}");
    bundle.edit(|config| {
        config["linux"]["cgroupsPath"] =
            json!(if way.is_empty() { format!("/{id}") } else { systemd });
        config["hooks"] = json!({ kind: hooks });
    });
    // A startContainer hook is a program of the container's.
    let inside = bundle.path().join("rootfs/bin/hook");
    fs::write(&inside, "#!/bin/sh\necho driver not loaded >&2\nexit 3\n").unwrap();
    out(&["chmod", "755", inside.to_str().unwrap()]);
    let log = bundle.path().join("log");
    let flags = ["--root", root.str(), "--log", log.to_str().unwrap(), "--log-format", "json"];
    let run = ["run", "--bundle", bundle.str(), &id];
    let refused = Cmd::new(program).args(&[&flags[..], way, &run].concat()).run();
    assert_ne!(refused.status, 0, "{way:?} {kind}: {refused}");
    (refused, fs::read_to_string(log).unwrap())
}

#[test]
fn vm_what_a_hook_says_is_in_the_message() {
    for way in WAYS {
        for kind in OUTSIDE.into_iter().chain(["startContainer", "poststart"]) {
            let inside = json!({ "path": "/bin/hook" });
            let hook = if kind == "startContainer" { inside } else { says("driver not loaded", 3) };
            let hooks = json!([says("before", 0), hook]);
            // runc's first process has no way to the log any more by the time of its own hooks.
            if kind != "startContainer" {
                let (runcs, log) = refused("runc", way, kind, &hooks);
                assert!(log.contains("driver not loaded"), "{way:?} {kind}: {log}");
                assert!(runcs.stderr.contains("driver not loaded"), "{way:?} {kind}: {runcs}");
            }
            let (ours, log) = refused("sharedroot", way, kind, &hooks);
            assert!(log.contains("driver not loaded"), "{way:?} {kind}: {log}");
            assert!(ours.stderr.contains("driver not loaded"), "{way:?} {kind}: {ours}");
            assert!(!log.contains("before"), "{way:?} {kind}: of the hook that failed only: {log}");
            assert!(ours.stderr.contains("before"), "{way:?} {kind}: all of it: {ours}");
            in_words(&log);
        }
    }
}

/// Nothing that another hook said, where the one that failed said nothing.
#[test]
fn vm_a_silent_hook_lends_no_words() {
    for way in WAYS {
        for kind in OUTSIDE {
            let silent = json!([says("before", 0), { "path": "/bin/false" }]);
            for program in ["runc", "sharedroot"] {
                let (refused, log) = refused(program, way, kind, &silent);
                assert!(log.contains("hook"), "{program} {way:?} {kind}: {refused}");
                assert!(!log.contains("before"), "{program} {way:?} {kind}: {log}");
            }
        }
    }
}

/// The hook is no file, and the one of every container of Docker's fails.
#[test]
fn vm_hooks_that_are_not_executed_and_dockers_own() {
    let missing = json!([{ "path": "/no/such/hook" }]);
    let mut dockers = says("no network", 1);
    dockers["args"][0] = json!("libnetwork-setkey");
    let dockers = json!([dockers]);
    for way in WAYS {
        for kind in OUTSIDE {
            for (hooks, words) in
                [(&missing, "no such file or directory"), (&dockers, "no network")]
            {
                for program in ["runc", "sharedroot"] {
                    let (_, log) = refused(program, way, kind, hooks);
                    let log = log.to_lowercase();
                    assert!(log.contains(words), "{program} {way:?} {kind}: {log}");
                }
            }
        }
    }
    assert!(Path::new("/run/systemd/system").exists(), "this guest has systemd");
}
