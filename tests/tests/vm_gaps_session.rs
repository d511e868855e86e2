//! What a process finds when it begins: its terminal, its signals, its network, and the agent that its filter asks. Generic:
//! `RUNTIME=runc` must pass too.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

/// The user and the size of a container's terminal.
#[track_caller]
fn terminal(pid: i32, number: u32) -> (u32, String) {
    let path = format!("/proc/{pid}/root/dev/pts/{number}");
    let owner = fs::metadata(&path).unwrap_or_else(|e| panic!("{path}: {e}")).uid();
    (owner, out(&["stty", "-F", &path, "size"]))
}

/// A process of user 1000 on a terminal of 33 lines.
fn on_terminal(process: &mut Value) {
    process["terminal"] = json!(true);
    process["consoleSize"] = json!({ "height": 33, "width": 99 });
    process["user"] = json!({ "uid": 1000, "gid": 1000 });
}

#[test]
fn vm_a_terminal_is_the_users_and_has_its_size() {
    let (runtime, dir) = (Runtime::of_env(), TempDir::new("console"));
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    bundle.edit(|config| on_terminal(&mut config["process"]));
    // Nobody takes the terminals out of the sockets; they live as long as these.
    let sockets = [dir.0.join("init"), dir.0.join("exec")];
    let _listeners = sockets.each_ref().map(|path| UnixListener::bind(path).unwrap());
    let [of_init, of_exec] = sockets.each_ref().map(|path| path.to_str().unwrap());
    let container = runtime.container(unique_name("terminal"));
    let create = ["create", "--console-socket", of_init, "--bundle", bundle.str(), &container.id];
    runtime.cmd(&create).run().ok();
    container.call("start", &[]).ok();
    assert_eq!(terminal(container.pid(), 0), (1000, "33 99".to_owned()), "init");

    let mut process = json!({ "cwd": "/", "args": ["sleep", "1000"], "env": ["PATH=/bin"] });
    on_terminal(&mut process);
    let file = dir.0.join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let flags = ["--detach", "--console-socket", of_exec, "--process", file];
    container.cmd("exec", &flags).run().ok();
    assert_eq!(terminal(container.pid(), 1), (1000, "33 99".to_owned()), "exec");
}

/// A process whose mkdir nobody answers would be confined otherwise than the container's own.
#[test]
fn vm_exec_does_not_leave_the_agent_out() {
    let (runtime, dir) = (Runtime::of_env(), TempDir::new("agent"));
    let socket = dir.0.join("socket");
    let _agent = UnixListener::bind(&socket).unwrap();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    bundle.edit(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "listenerPath": socket, "listenerMetadata": "of the test",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
        });
    });
    let container = runtime.start(&bundle);
    let exec = container.exec(&[], &["grep", "Seccomp:", "/proc/self/status"]);
    if runtime.is_sharedroot() && exec.status != 0 {
        assert_eq!(exec.stdout, "", "{exec}");
        for word in ["linux.seccomp.listenerPath", "runc"] {
            assert!(exec.stderr.contains(word), "{word:?} is not in: {exec}");
        }
    } else {
        assert_eq!(exec.ok(), "Seccomp:\t2");
    }
    assert_eq!(container.status(), "running");
}

/// A program whose reader has gone must end, not be told so: most do not look.
#[test]
fn vm_no_signal_is_ignored() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["grep", "SigIgn", "/proc/self/status"]);
    let none = "SigIgn:\t0000000000000000";
    let run = runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("signals")]).run();
    assert_eq!(run.ok(), none, "init");
    bundle.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    let container = runtime.start(&bundle);
    assert_eq!(container.exec(&[], &["grep", "SigIgn", "/proc/self/status"]).ok(), none, "exec");
    let pipe = "(busybox yes; echo $? >&2) | true";
    assert_eq!(container.exec(&[], &["sh", "-c", pipe]).stderr, "141\n");
}

#[test]
fn vm_the_loopback_device_is_up() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["cat", "/sys/class/net/lo/flags"]);
    let flags = || {
        let id = unique_name("network");
        runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run().ok()
    };
    // IFF_UP and IFF_LOOPBACK (netdevice(7)).
    assert_eq!(flags(), "0x9");
    // In a network that somebody else made it is his.
    let name = unique_name("net");
    out(&["ip", "netns", "add", &name]);
    bundle.edit(|config| {
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "network" {
                namespace["path"] = json!(format!("/run/netns/{name}"));
            }
        }
    });
    let found = flags();
    out(&["ip", "netns", "delete", &name]);
    assert_eq!(found, "0x8");
}
