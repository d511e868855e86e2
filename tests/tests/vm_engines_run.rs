//! A delegate between its caller and its container: signals, exit status, whose child the container is, environment, time.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::Cmd;
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

const DELEGATES: [&str; 2] = ["crun", "runc"];
const UNTIL_TERM: &str = "trap 'exit 7' TERM; trap 'exit 8' 40; sleep 1000 & echo ready; wait";

/// `run` in the background of a shell, which does `then` as soon as the container is ready, and ends as `run` does.
#[track_caller]
fn run_and(runtime: &Runtime, engine: &str, bundle: &Bundle, then: &str) -> i32 {
    let out = bundle.path().join("out");
    let script = format!(
        "/usr/local/bin/sharedroot --root {root} --engine {engine} run --bundle {bundle} front > {out} & run=$!
         until grep -q ready {out}; do sleep 0.1; done
         sleep 0.5 # runc catches signals by a thread that it starts beside the container
         {then}
         wait $run",
        root = runtime.root(),
        bundle = bundle.str(),
        out = out.display(),
    );
    Cmd::new("bash").args(&["-c", &script]).run().status
}

#[test]
fn vm_a_signal_to_run_reaches_the_container() {
    let image = Image::new();
    for engine in DELEGATES {
        let runtime = Runtime::with_engine(engine);
        let bundle = image.bundle(&runtime, false, &["sh", "-c", UNTIL_TERM]);
        assert_eq!(run_and(&runtime, engine, &bundle, "kill -TERM $run"), 7, "{engine}");
        let before = Census::take();
        assert_eq!(run_and(&runtime, engine, &bundle, "kill -TERM $run"), 7, "{engine}");
        assert_eq!(run_and(&runtime, engine, &bundle, "kill -40 $run"), 8, "{engine}");
        before.nothing_left();
    }
}

#[test]
fn vm_others_exec_and_delete_while_run_waits() {
    for engine in DELEGATES {
        let runtime = Runtime::with_engine(engine);
        let bundle = Bundle::new(&runtime, &["sh", "-c", UNTIL_TERM]);
        // Ten seconds is how long a delete waits for a create that does not end.
        let then = format!(
            "/usr/local/bin/sharedroot --root {root} exec front sh -c 'exit 42'; [ $? = 42 ] || exit 3
             SECONDS=0; /usr/local/bin/sharedroot --root {root} delete --force front || exit 4
             [ $SECONDS -lt 10 ] || exit 5",
            root = runtime.root()
        );
        assert_eq!(run_and(&runtime, engine, &bundle, &then), 137, "{engine}");
        assert_eq!(runtime.cmd(&["list", "--quiet"]).run().ok(), "");
    }
}

#[test]
fn vm_run_keeps_what_it_is_told_to_keep() {
    let image = Image::new();
    for engine in DELEGATES {
        let runtime = Runtime::with_engine(engine);
        let bundle = image.bundle(&runtime, false, &["sh", "-c", "touch /etc/new; exit 5"]);
        runtime.cmd(&["run", "--bundle", bundle.str(), "gone"]).run().fails(5);
        let before = Census::take();
        // crun 1.21 deletes it all the same: then nothing may be left.
        runtime.cmd(&["run", "--keep", "--bundle", bundle.str(), "kept"]).run().fails(5);
        let kept = runtime.cmd(&["state", "kept"]).run();
        if kept.status == 0 {
            assert_eq!(kept.json()["status"], "stopped");
            assert!(bundle.path().join("rootfs/etc/new").exists(), "its root is there");
        }
        runtime.cmd(&["delete", "--force", "kept"]).run().ok();
        before.nothing_left();
    }
}

/// Containerd kills a runtime that takes too long, and deletes by force what there may be.
#[test]
fn vm_a_killed_create_is_undone_by_delete() {
    let image = Image::new();
    for engine in DELEGATES {
        let runtime = Runtime::with_engine(engine);
        drop(runtime.start(&image.bundle(&runtime, false, &["sleep", "1000"])));
        let before = Census::take();
        let bundle = image.bundle(&runtime, false, &["sleep", "1000"]);
        let (reached, go) = (bundle.path().join("reached"), bundle.path().join("go"));
        let (at, on) = (reached.display(), go.display());
        let hook = format!("touch {at}; until [ -e {on} ]; do sleep 0.1; done; exec sleep 3");
        bundle.edit(|config| {
            config["hooks"]["createRuntime"] =
                json!([{ "path": "/bin/sh", "args": ["sh", "-c", hook] }]);
        });
        let script = format!(
            "/usr/local/bin/sharedroot --root {root} --engine {engine} create --bundle {bundle} killed & create=$!
             until [ -e {reached} ]; do sleep 0.1; done
             kill -KILL $create; wait $create
             pgrep -x {engine} > /dev/null || exit 3; touch {go}
             /usr/local/bin/sharedroot --root {root} delete --force killed || exit 4
             ! pgrep -x {engine} || exit 5",
            root = runtime.root(),
            bundle = bundle.str(),
            reached = reached.display(),
            go = go.display(),
        );
        Cmd::new("bash").args(&["-c", &script]).run().ok();
        drop(bundle);
        before.nothing_left();
    }
}

/// Containerd's shim adopts the container's init process and learns of its end so.
#[test]
fn vm_the_init_process_is_adopted_by_the_caller() {
    // This test is the reaper of what is left behind below it, as a shim is (prctl(2)).
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("prctl");
    for engine in DELEGATES {
        let runtime = Runtime::with_engine(engine);
        let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
        let container = runtime.start(&bundle);
        let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
        assert_eq!(parent, std::process::id().to_string(), "{engine}");
        let fds = fs::read_dir(format!("/proc/{}/fd", container.pid())).unwrap().count();
        assert_eq!(fds, 3, "{engine}: descriptors of init");
    }
    rustix::process::set_child_subreaper(None).expect("prctl");
}

#[test]
fn vm_a_delegate_is_timed_and_has_its_callers_environment() {
    let dir = TempDir::of_programs("engine");
    let (program, told) = (dir.0.join("engine"), dir.0.join("told"));
    let script = format!("#!/bin/sh\nenv >> {}\nexec runc \"$@\"\n", told.display());
    fs::write(&program, script).expect("write a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it a program");
    let runtime = Runtime::with_engine(program.to_str().expect("ASCII"));
    let bundle = Bundle::new(&runtime, &["true"]);
    let starts = || {
        let look = Cmd::new("sharedroot").args(&["top", "--json"]).run().json();
        look["not_shared"]["starts"]["count"].as_u64().expect("a number")
    };
    let before = starts();
    let create = ["create", "--bundle", bundle.str(), "timed"];
    runtime.cmd(&create).env("TOLD", "by the caller").run().ok();
    runtime.cmd(&["start", "timed"]).run().ok();
    assert_eq!(starts(), before + 1);
    runtime.cmd(&["run", "--bundle", bundle.str(), "front"]).run().ok();
    assert_eq!(starts(), before + 1, "how long a container lives is no time of a start");
    runtime.cmd(&["delete", "--force", "timed"]).run().ok();
    let told = fs::read_to_string(told).expect("read what the engine was told");
    assert!(told.contains("TOLD=by the caller") && !told.contains("SHAREDROOT_BEGAN"), "{told}");
}
