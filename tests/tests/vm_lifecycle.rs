//! The OCI runtime's verbs, called directly. Generic: `RUNTIME=runc` must pass too, which proves the test.
//!
//! Guest: --no-docker --engine crun --engine runc

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::json;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::kernel_view::{cgroup_file, confinement, confinement_of};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::runtime::{Container, Runtime};

/// The kernel delivers TERM to a pid namespace's init only where it has a handler.
/// Nothing forks while the signal comes: User-Mode Linux panics where a fork is cut short by a signal.
const UNTIL_TERM: &str = "trap 'exit 7' TERM; sleep 1000 & wait";
const FOREVER: [&str; 3] = ["sh", "-c", UNTIL_TERM];

#[test]
fn vm_create_start_kill_delete() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    let warm_up = runtime.start(&bundle);
    drop(warm_up);
    let before = Census::take();

    let container = runtime.create(&bundle);
    let state = container.state();
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], json!(container.id));
    assert_eq!(state["bundle"], json!(bundle.path()));
    assert!(state["ociVersion"].as_str().is_some_and(|v| v.starts_with("1.")), "{state}");
    let pid = container.pid();
    assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "the process of {state}");

    container.call("start", &[]).ok();
    assert_eq!(container.status(), "running");
    assert_eq!(container.pid(), pid, "start runs the process that create made");
    assert_ne!(container.call("start", &[]).status, 0, "a second start");
    assert_ne!(container.call("delete", &[]).status, 0, "delete of a running container");
    assert_eq!(container.status(), "running");

    container.traps(15);
    container.call("kill", &[]).ok();
    container.becomes("stopped");
    assert_ne!(container.call("exec", &["true"]).status, 0, "exec in a stopped container");
    container.call("delete", &[]).ok();
    assert!(!container.exists());
    assert_ne!(container.call("delete", &[]).status, 0, "a second delete without --force");
    container.cmd("delete", &["--force"]).run().ok();
    before.nothing_left();
}

#[test]
fn vm_kill_with_a_number_or_a_name() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    for signal in ["9", "KILL", "SIGKILL"] {
        let container = runtime.start(&bundle);
        container.call("kill", &[signal]).ok();
        container.becomes("stopped");
        assert_ne!(container.call("kill", &["9"]).status, 0, "kill of a stopped container");
        container.call("delete", &[]).ok();
    }
    let container = runtime.start(&bundle);
    assert_ne!(container.call("kill", &["NONSENSE"]).status, 0);
    assert_eq!(container.status(), "running");
}

#[test]
fn vm_delete_by_force_ends_a_running_container() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    let container = runtime.start(&bundle);
    let pid = container.pid();
    container.cmd("delete", &["--force"]).run().ok();
    assert!(!container.exists());
    wait_for("the process is gone", || {
        (!fs::exists(format!("/proc/{pid}/root/bin")).unwrap()).then_some(())
    });
    let created = runtime.create(&bundle);
    created.cmd("delete", &["--force"]).run().ok();
    assert!(!created.exists());
}

#[test]
fn vm_exec_has_its_own_process() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    let container = runtime.start(&bundle);
    container.exec(&[], &["sh", "-c", "exit 42"]).fails(42);
    container.exec(&[], &["sh", "-c", "kill -9 $$"]).fails(137);
    assert_eq!(
        container.exec(&["--env", "COLOUR=blue"], &["sh", "-c", "echo $COLOUR"]).ok(),
        "blue"
    );
    assert_eq!(container.exec(&["--cwd", "/etc"], &["pwd"]).ok(), "/etc");
    assert_eq!(container.exec(&["--user", "1000:1000"], &["id", "-u"]).ok(), "1000");
    assert_eq!(container.exec(&["--user", "1000:1000"], &["id", "-g"]).ok(), "1000");
    let streams = container
        .cmd("exec", &[])
        .args(&["sh", "-c", "cat; echo away >&2"])
        .stdin("a line\n")
        .run();
    assert_eq!((&*streams.stdout, &*streams.stderr), ("a line\n", "away\n"));
    let missing = container.exec(&[], &["/no/such/program"]);
    assert_ne!(missing.status, 0);
    assert!(missing.stderr.contains("/no/such/program"), "{missing}");
    assert_eq!(container.status(), "running");
}

#[test]
fn vm_exec_leaves_nothing() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    let container = runtime.start(&bundle);
    let files = || {
        let list = out(&["find", runtime.root(), "-printf", "%y %P\n"]);
        list.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let (before, census) = (files(), Census::take());
    container.exec(&[], &["true"]).ok();
    container.exec(&[], &["false"]).fails(1);
    assert_ne!(container.exec(&[], &["/no/such/program"]).status, 0);
    assert_eq!(files(), before);
    census.nothing_left();
}

#[test]
fn vm_exec_of_a_process_file() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    let container = runtime.start(&bundle);
    let dir = TempDir::new("process");
    let (process, pid_file) = (dir.0.join("process.json"), dir.0.join("pid"));
    let text = json!({
        "terminal": false, "user": { "uid": 1000, "gid": 1000, "additionalGids": [44] }, "cwd": "/tmp",
        "args": ["sh", "-c", "echo $A; pwd; id -u; id -G"], "env": ["PATH=/bin", "A=b c"],
    });
    fs::write(&process, text.to_string()).unwrap();
    let path = process.to_str().unwrap();
    assert_eq!(container.cmd("exec", &["--process", path]).run().ok(), "b c\n/tmp\n1000\n1000 44");

    let text = json!({ "cwd": "/", "args": ["sleep", "1000"], "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    fs::write(&process, text.to_string()).unwrap();
    let file = pid_file.to_str().unwrap();
    container.cmd("exec", &["--detach", "--pid-file", file, "--process", path]).run().ok();
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert!(pids(&container).contains(&pid), "{pid} is one of the container's processes");
}

/// `ps --format json`
fn pids(container: &Container<'_>) -> Vec<i32> {
    let list = container.cmd("ps", &["--format", "json"]).run().json();
    list.as_array().unwrap().iter().map(|pid| pid.as_i64().unwrap() as i32).collect()
}

#[test]
fn vm_ps_lists_the_processes() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    assert_eq!(pids(&container), [container.pid()]);
    let table = container.call("ps", &[]).ok();
    let pid = container.pid().to_string();
    assert!(table.lines().next().is_some_and(|head| head.contains("PID")), "{table}");
    assert!(table.lines().any(|line| line.split_whitespace().any(|word| word == pid)), "{table}");
}

#[test]
fn vm_pause_and_resume() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    let container = runtime.start(&bundle);
    container.call("pause", &[]).ok();
    assert_eq!(container.status(), "paused");
    assert!(cgroup_file(container.pid(), "cgroup.events").contains("frozen 1"));
    assert_ne!(container.exec(&[], &["true"]).status, 0, "exec in a paused container");
    container.call("resume", &[]).ok();
    assert_eq!(container.status(), "running");
    container.exec(&[], &["true"]).ok();
    container.call("pause", &[]).ok();
    container.cmd("delete", &["--force"]).run().ok();
    assert!(!container.exists());
}

#[test]
fn vm_update_changes_the_cgroup() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    let container = runtime.start(&bundle);
    let pid = container.pid();
    let resources = json!({ "pids": { "limit": 123 } }).to_string();
    container.cmd("update", &["--resources", "-"]).stdin(&resources).run().ok();
    assert_eq!(cgroup_file(pid, "pids.max"), "123");
    container.cmd("update", &["--pids-limit", "77"]).run().ok();
    assert_eq!(cgroup_file(pid, "pids.max"), "77");
    container.cmd("update", &["--memory", "67108864"]).run().ok();
    assert_eq!(cgroup_file(pid, "memory.max"), "67108864");
    assert_eq!(cgroup_file(pid, "pids.max"), "77", "what is not named stays as it is");
}

#[test]
fn vm_events_and_list_are_json() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    let container = runtime.start(&bundle);
    let stats = container.cmd("events", &["--stats"]).run().json();
    assert_eq!((&stats["type"], &stats["id"]), (&json!("stats"), &json!(container.id)));
    assert!(stats["data"]["memory"]["usage"]["usage"].as_u64().is_some_and(|n| n > 0), "{stats}");
    assert_eq!(stats["data"]["pids"]["current"].as_u64().map(|n| n > 0), Some(true), "{stats}");
    let list = runtime.cmd(&["list", "--format", "json"]).run().json();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!((&list[0]["id"], &list[0]["status"]), (&json!(container.id), &json!("running")));
    assert_eq!(list[0]["pid"], json!(container.pid()));
    assert_eq!(runtime.cmd(&["list", "--quiet"]).run().ok(), container.id);
}

#[test]
fn vm_run_returns_the_exit_code() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sh", "-c", "cat; exit 5"]);
    let id = unique_name("run");
    let done = runtime.cmd(&["run", "--bundle", bundle.str(), &id]).stdin("hello\n").run();
    assert_eq!((done.status, &*done.stdout), (5, "hello\n"), "{done}");
    assert_ne!(runtime.cmd(&["state", &id]).run().status, 0, "run deletes the container");
    bundle.edit(|config| config["process"]["args"] = json!(["/no/such/program"]));
    let failed = runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run();
    assert_ne!(failed.status, 0);
    assert!(failed.stderr.contains("/no/such/program"), "{failed}");
    assert_ne!(runtime.cmd(&["state", &id]).run().status, 0, "a failed run leaves no container");
}

#[test]
fn vm_run_detached_and_pid_file() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    let (id, pid_file) = (unique_name("detached"), bundle.path().join("pid"));
    let flags = [
        "run",
        "--detach",
        "--bundle",
        bundle.str(),
        "--pid-file",
        pid_file.to_str().unwrap(),
        &id,
    ];
    runtime.cmd(&flags).limit(Duration::from_secs(60)).run().ok();
    let state = runtime.cmd(&["state", &id]).run().json();
    assert_eq!(state["status"], "running");
    assert_eq!(state["pid"].to_string(), fs::read_to_string(&pid_file).unwrap().trim());
    assert_ne!(
        runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().status,
        0,
        "the ID is taken"
    );
    assert_eq!(runtime.cmd(&["state", &id]).run().json()["status"], "running");
    runtime.cmd(&["delete", "--force", &id]).run().ok();
}

#[test]
fn vm_spec_features_and_version() {
    let runtime = Runtime::of_env();
    let features = runtime.cmd(&["features"]).run().json();
    assert!(features["ociVersionMin"].as_str().is_some_and(|v| v.starts_with("1.")), "{features}");
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
    assert_eq!(features["linux"]["cgroup"]["v2"], true);
    let version = runtime.version();
    assert!(version.contains("version") || version.starts_with("sharedroot "), "{version}");
    // The bundle's configuration is the runtime's own `spec` with only the command changed.
    let bundle = Bundle::new(&runtime, &["echo", "from the spec"]);
    let id = unique_name("spec");
    assert_eq!(runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run().ok(), "from the spec");
    // Inheritable capabilities without a file that asks for them serve nobody but an attacker (CVE-2022-29162).
    bundle.edit(|config| {
        let inheritable = &config["process"]["capabilities"]["inheritable"];
        assert!(inheritable.as_array().is_none_or(Vec::is_empty), "{inheritable}");
    });
    let again = runtime.cmd(&["spec", "--bundle", bundle.str()]).run();
    assert_ne!(again.status, 0, "spec does not write over a config.json");
}

#[test]
fn vm_exec_is_confined_like_init() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    bundle.forbid_mkdir();
    for user in
        [json!({ "uid": 0, "gid": 0 }), json!({ "uid": 1000, "gid": 1000, "additionalGids": [44] })]
    {
        bundle.edit(|config| config["process"]["user"] = user.clone());
        let container = runtime.start(&bundle);
        let init = confinement_of(container.pid());
        assert!(init.contains(&"Seccomp:\t2".to_owned()), "{init:?}");
        assert!(init.contains(&"NoNewPrivs:\t1".to_owned()), "{init:?}");
        let exec = container.exec(&[], &["cat", "/proc/self/status"]).ok();
        assert_eq!(confinement(&exec), init, "exec as {user}");
        let mkdir = container.exec(&[], &["mkdir", "/tmp/forbidden"]);
        assert!(mkdir.status != 0 && mkdir.stderr.contains("not implemented"), "{mkdir}");
    }
}

#[test]
fn vm_exec_as_another_user_has_no_more_than_init() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    bundle.forbid_mkdir();
    // As Docker has it. Runtimes differ in what their `spec` says of the other two sets.
    bundle.edit(|config| {
        let some = json!(["CAP_KILL", "CAP_NET_RAW"]);
        config["process"]["capabilities"] =
            json!({ "bounding": some, "effective": some, "permitted": some });
    });
    let container = runtime.start(&bundle);
    let line = |of: &[String], name: &str| of.iter().find(|l| l.starts_with(name)).cloned();
    let init = confinement_of(container.pid());
    let exec = container.exec(&["--user", "1000:1000"], &["cat", "/proc/self/status"]).ok();
    let exec = confinement(&exec);
    for name in ["CapBnd", "NoNewPrivs", "Seccomp"] {
        assert_eq!(line(&exec, name), line(&init, name));
    }
    assert_eq!(line(&exec, "Uid").as_deref(), Some("Uid:\t1000\t1000\t1000\t1000"));
    assert_eq!(line(&exec, "CapEff").as_deref(), Some("CapEff:\t0000000000000000"));
}
