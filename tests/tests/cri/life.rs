//! A container's life: exec, log, figures, limits, its end; and containerd's restart meanwhile.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use sharedroot_tests::command::{Cmd, out};
use sharedroot_tests::cri::{Pod, cri};
use sharedroot_tests::kernel_view::{cgroup_file, root_of};
use sharedroot_tests::lab::wait_for;

use crate::HANDLERS;

const MIB: i64 = 1 << 20;
const STOP: [&str; 3] = ["stop", "-timeout", "60"];

#[test]
fn vm_exec_log_figures_limits_and_end() {
    for handler in HANDLERS {
        let pod = Pod::plain(handler);
        does_not_start(&pod, handler);
        lives(&pod, handler);
        ends(&pod, handler);
        pod.end();
    }
}

fn does_not_start(pod: &Pod, case: &str) {
    let container = pod.create(|config| {
        config["command"] = json!(["/no/such/program"]);
        config["linux"]["security_context"]["readonly_rootfs"] = false.into();
    });
    let refused = cri(&["start", &container.id]).fails(1);
    assert!(refused.contains("/no/such/program"), "{case}: {refused}");
    assert_eq!(container.end(), (128, "StartError".to_owned()), "{case}");
    cri(&["rm", &container.id]).ok();
}

fn lives(pod: &Pod, case: &str) {
    let container = pod.run(true, |config| {
        config["linux"]["resources"]["memory_limit_in_bytes"] = (64 * MIB).into();
    });
    let container = container.is_ready();
    let both = container.exec(&["sh", "-c", "echo out; echo away >&2; exit 9"]);
    assert_eq!((both.status, &*both.stdout, &*both.stderr), (9, "out\n", "away\n"), "{case}");
    let missing = container.exec(&["/no/such/program"]);
    assert!(
        missing.status != 0 && missing.stderr.contains("/no/such/program"),
        "{case}: {missing}"
    );
    let started = Instant::now();
    let late = cri(&["exec", "-s", "-timeout", "1", &container.id, "sleep", "1234"]).fails(1);
    assert!(late.contains("timeout") || late.contains("deadline"), "{case}: {late}");
    assert!(started.elapsed().as_secs() < 60, "{case}");
    wait_for("the late one is gone", || {
        (!container.sh("cat /proc/[0-9]*/cmdline").contains("sleep\x001234\x00")).then_some(())
    });
    assert_eq!(cri(&["logs", &container.id]).ok(), "ready", "{case}");

    let stats = cri(&["stats", &container.id]).json()["stats"].take();
    let figure = |at: &str| stats.pointer(at)?.as_str()?.parse::<i64>().ok();
    let memory = figure("/memory/usageBytes/value");
    assert!(memory.is_some_and(|n| n > 0 && n < 64 * MIB), "{case}: {stats}");
    assert!(figure("/cpu/usageCoreNanoSeconds/value").is_some_and(|n| n > 0), "{case}: {stats}");
    let stats = cri(&["statsp", &pod.id]).json();
    let containers = stats.pointer("/stats/linux/containers").and_then(Value::as_array);
    assert_eq!(containers.map(Vec::len), Some(1), "{case}: {stats}");

    let (pid, unit) = (container.pid(), format!("cri-containerd-{}.scope", container.id));
    let unit_says = |name: &str| out(&["systemctl", "show", "--value", "--property", name, &unit]);
    assert_eq!(cgroup_file(pid, "memory.max"), (64 * MIB).to_string(), "{case}");
    let more = (96 * MIB).to_string();
    let limits = ["-memory", &more, "-cpu-quota", "50000", "-cpu-period", "100000"];
    cri(&[&["update"], &limits[..], &[&container.id]].concat()).ok();
    assert_eq!([cgroup_file(pid, "memory.max"), unit_says("MemoryMax")], [&*more; 2], "{case}");
    let cpu = [cgroup_file(pid, "cpu.max"), unit_says("CPUQuotaPerSecUSec")];
    assert_eq!(cpu, ["50000 100000", "500ms"], "{case}");
}

/// Of writable ones: what they changed is still to be written back then.
fn ends(pod: &Pod, case: &str) {
    let stopped = pod.run(false, |_| ()).is_ready();
    stopped.sh("echo old > /etc/old");
    cri(&[&STOP[..], &[&stopped.id]].concat()).ok();
    assert_eq!(stopped.end(), (7, "Error".to_owned()), "{case}");
    let done = pod.run(false, |config| config["command"] = json!(["true"]));
    assert_eq!(done.end(), (0, "Completed".to_owned()), "{case}");
    // A kubelet starts anew with a new container: nothing of the old one is in it.
    let anew = pod.run(false, |_| ()).is_ready();
    assert_eq!(anew.sh("ls -d /etc/old 2>/dev/null || echo new"), "new", "{case}");
    for container in [stopped, done] {
        cri(&["rm", &container.id]).ok();
    }
    out(&["kill", "-KILL", &anew.pid().to_string()]);
    assert_eq!(anew.end(), (137, "Error".to_owned()), "{case}");
}

#[test]
fn vm_containers_outlive_containerd() {
    let answers = || wait_for("containerd answers", || (cri(&["ps"]).status == 0).then_some(()));
    let pods = HANDLERS.map(|handler| {
        let pod = Pod::plain(handler);
        let containers = [true, false].map(|readonly| pod.run(readonly, |_| ()).is_ready());
        containers[1].sh("echo kept > /etc/kept");
        (pod, containers)
    });
    let look = || {
        let all = pods.iter().flat_map(|(pod, [one, other])| [pod.pid(), one.pid(), other.pid()]);
        all.map(|pid| (pid, root_of(pid).device)).collect::<Vec<_>>()
    };
    let before = look();
    out(&["systemctl", "restart", "containerd"]);
    answers();
    assert_eq!(look(), before);
    assert!(pods.iter().all(|(_, [_, other])| other.sh("cat /etc/kept") == "kept"));
    assert_eq!(pods[0].0.run(true, |_| ()).sh("echo more"), "more");

    let killed = pods.each_ref().map(|(_, [one, _])| one.pid().to_string());
    out(&["systemctl", "stop", "containerd"]);
    assert_ne!(Cmd::new("pgrep").args(&["-x", "containerd"]).run().status, 0);
    out(&["kill", "-KILL", &killed[0], &killed[1]]);
    wait_for("their shims have heard of it", || {
        (!killed.iter().any(|pid| Path::new("/proc").join(pid).exists())).then_some(())
    });
    out(&["systemctl", "start", "containerd"]);
    answers();
    // containerd 1.7 forgets the code of who ended meanwhile, and says 255.
    let [ours, runcs] = pods.each_ref().map(|(_, [one, _])| one.end());
    assert_eq!(ours, runcs);
    for (pod, [_, other]) in pods {
        assert_eq!(other.sh("echo alive"), "alive");
        cri(&[&STOP[..], &[&other.id]].concat()).ok();
        assert_eq!(other.end().0, 7);
        pod.end();
    }
}
