//! The process that is on its way into a container, and what the container's processes get of it: CVE-2016-9962, and
//! the host's root through `/proc/PID/root`. Generic: `RUNTIME=runc` must pass too.
//!
//! Guest: --no-docker

use std::fs;
use std::path::Path;

use serde_json::json;
use sharedroot_tests::attack::{LOOK, WATCH, allow, bind, targets};
use sharedroot_tests::command::Cmd;
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::runtime::Runtime;

const FOREVER: [&str; 2] = ["sleep", "1000"];

#[test]
fn vm_a_process_on_its_way_in_cannot_be_looked_into() {
    let runtime = Runtime::of_env();
    for target in targets(&runtime, &FOREVER, |_| {}) {
        let attacker = target.start(&runtime);
        target.edit(|config| {
            let shared = format!("/proc/{}/ns/pid", attacker.pid());
            for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
                if namespace["type"] == "pid" {
                    namespace["path"] = json!(shared);
                }
            }
        });
        // It has given up the container's capabilities' surplus by now, and waits for `start`.
        let victim = runtime.create(&target);
        let status = fs::read_to_string(format!("/proc/{}/status", victim.pid())).unwrap();
        let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
        let inner = inner.split_whitespace().next_back().unwrap();
        let look = || attacker.exec(&[], &["sh", "-c", LOOK, inner]).ok();
        assert_eq!(look(), "", "on a root {}", target.kind);
        // The means are real: when it runs the container's program it is like any other.
        victim.call("start", &[]).ok();
        wait_for("all six ways are open", || (look().lines().count() == 6).then_some(()));
    }
}

/// Nor does a container that may look into every process find the host's root in one.
#[test]
fn vm_no_process_on_its_way_in_has_the_hosts_root() {
    let runtime = Runtime::of_env();
    for target in targets(&runtime, &FOREVER, |root| fs::create_dir(root.join("out")).unwrap()) {
        let (out, host) = (TempDir::new("out"), TempDir::new("host"));
        let name = host.str().trim_start_matches('/');
        target.edit(|config| {
            config["process"]["args"] = json!(["sh", "-c", WATCH, name]);
            allow(config, &["CAP_SYS_PTRACE"]);
            bind(config, out.str(), "/out");
        });
        let container = target.start(&runtime);
        let noted = |file: &str| fs::read_to_string(Path::new(out.str()).join(file));
        // Each step into a namespace takes its time.
        let slow = ["-f", "-qq", "-o", "/dev/null", "-e", "inject=setns:delay_exit=300000"];
        let exec = ["--root", runtime.root(), "exec", &container.id, "sleep", "2"];
        Cmd::new("strace")
            .args(&slow)
            .arg(runtime.program())
            .args(&exec)
            .dir(Path::new("/"))
            .run()
            .ok();
        // The means are real: the watcher saw the process, and looks through its root.
        wait_for("the watcher sees a process", || noted("seen").ok());
        let escapes = noted("escapes").unwrap_or_default();
        assert_eq!(escapes.lines().next(), None, "on a root {}", target.kind);
    }
}
