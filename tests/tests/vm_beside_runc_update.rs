//! Limits that change while a container runs, beside runc: each update sets what it names, and every other limit stays. With
//! cgroupfs and with systemd's driver.
//!
//! Guest: --limit 800 --shim long
//! Guest: --systemd --alone --limit 1200

use std::fs;

use serde_json::{Value, json};
use sharedroot_tests::beside::{RUNTIMES, beside_runc, in_words};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{Cmd, Output, out, unique_name};
use sharedroot_tests::docker::Container;
use sharedroot_tests::kernel_view::cgroup_file;
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

/// How shares become a weight has changed in runc 1.3.2: ours is the new way, so the weight is looked at apart.
const FILES: [&str; 6] =
    ["memory.max", "memory.low", "memory.swap.max", "memory.high", "cpu.max", "pids.max"];

/// A container that a runtime made by its own command line.
struct Direct {
    runtime: String,
    root: TempDir,
    bundle: Bundle,
    id: String,
    pid: i32,
}

impl Direct {
    #[track_caller]
    fn new(runtime: &str) -> Self {
        let bundle = Bundle::new(&Runtime::sharedroot(), &["sleep", "1000"]);
        let id = unique_name("limits");
        bundle.edit(|config| {
            let path =
                if has_systemd() { format!("system.slice:lab:{id}") } else { format!("/{id}") };
            config["linux"]["cgroupsPath"] = json!(path);
            config["linux"]["resources"]["memory"] = json!({ "limit": 104_857_600 });
            config["linux"]["resources"]["cpu"] = json!({ "quota": 40_000, "period": 80_000 });
        });
        let root = TempDir::new("root");
        let mut direct = Self { runtime: runtime.to_owned(), root, bundle, id, pid: 0 };
        let pid_file = direct.root.0.join("pid");
        let words = ["create", "--bundle", direct.bundle.str(), "--pid-file"];
        let words = [&words[..], &[pid_file.to_str().expect("text"), &direct.id]].concat();
        direct.call(&words).run().ok();
        direct.pid = fs::read_to_string(pid_file).expect("a pid file").parse().expect("a pid");
        direct.call(&["start", &direct.id]).run().ok();
        direct
    }

    fn call(&self, words: &[&str]) -> Cmd {
        let cmd = Cmd::new(&self.runtime).args(&["--root", self.root.str()]);
        let systemd: &[&str] = if has_systemd() { &["--systemd-cgroup"] } else { &[] };
        cmd.args(systemd).args(words)
    }

    #[track_caller]
    fn update(&self, resources: &Value) -> Output {
        self.call(&["update", "--resources", "-", &self.id]).stdin(&resources.to_string()).run()
    }

    #[track_caller]
    fn limits(&self) -> String {
        limits(self.pid)
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.call(&["delete", "--force", &self.id]).run();
    }
}

fn has_systemd() -> bool {
    fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "systemd")
}

/// All limits of a process's cgroup. systemd writes what it was told when it comes to that, which it has done when it answers.
#[track_caller]
fn limits(pid: i32) -> String {
    if has_systemd() {
        out(&["systemctl", "show", "--property=Version"]);
    }
    FILES.map(|file| format!("{file}={}", cgroup_file(pid, file))).join(" ")
}

#[test]
fn vm_an_update_keeps_every_other_limit_in_every_order() {
    let steps = [
        json!({ "memory": { "limit": 209_715_200, "swap": 314_572_800 } }),
        json!({ "cpu": { "shares": 512 } }),
        json!({ "memory": { "reservation": 52_428_800 } }),
        json!({ "cpu": { "quota": 20_000, "period": 80_000 } }),
        json!({ "pids": { "limit": 50 } }),
        json!({ "memory": { "limit": 157_286_400 } }),
        json!({ "cpu": { "cpus": "0" } }),
        json!({ "memory": { "swap": -1 } }),
        json!({ "cpu": { "quota": 30_000, "period": 60_000 } }),
        json!({ "unified": { "memory.high": "150000000" } }),
        json!({ "cpu": { "shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": "" } }),
        json!({ "memory": { "limit": 0, "swap": 0, "reservation": 0 } }),
        json!({ "pids": { "limit": -1 } }),
    ];
    // Each is once before and once after each other one.
    let forward: Vec<usize> = (0..steps.len()).collect();
    let backward: Vec<usize> = forward.iter().rev().copied().collect();
    let mixed: Vec<usize> = forward.iter().map(|at| at * 4 % steps.len()).collect();
    for order in [forward, backward, mixed] {
        beside_runc("limits after each update", |runtime| {
            let container = Direct::new(runtime);
            let after = |at: &usize| {
                let updated = container.update(&steps[*at]);
                format!("{}: {} {}", steps[*at], updated.status, container.limits())
            };
            std::iter::once(container.limits()).chain(order.iter().map(after)).collect::<Vec<_>>()
        });
    }
}

#[test]
fn vm_swap_is_as_with_runc() {
    for memory in [
        json!({ "swap": 419_430_400 }),
        json!({ "swap": -1 }),
        json!({ "limit": -1, "swap": -1 }),
        json!({ "limit": 104_857_600, "swap": 104_857_600 }),
        json!({ "limit": 104_857_600, "swap": 52_428_800 }),
        json!({ "limit": 104_857_600, "swap": -1 }),
        json!({ "limit": -1, "swap": 419_430_400 }),
        json!({ "limit": -1 }),
    ] {
        let resources = json!({ "memory": memory });
        let both = RUNTIMES.map(|runtime| {
            let container = Direct::new(runtime);
            let updated = container.update(&resources);
            ((updated.status == 0, container.limits()), updated.stderr)
        });
        let [(runc, its), (ours, said)] = both;
        assert_eq!(ours, runc, "{memory}: {said}\n{its}");
        in_words(&said);
        let why = said.trim().rsplit(": ").next().unwrap_or_default();
        assert!(its.contains(why), "{memory}: {why:?} is not in: {its}");
    }
}

/// runc 1.1 loses one of the two under systemd where the other is named alone; without systemd it does as here.
#[test]
fn vm_sharedroot_keeps_quota_and_period_apart() {
    let container = Direct::new("sharedroot");
    for (cpu, wanted) in [
        (json!({ "quota": 20_000 }), "20000 80000"),
        (json!({ "period": 50_000 }), "20000 50000"),
        (json!({ "shares": 512 }), "20000 50000"),
        (json!({ "quota": -1 }), "max 50000"),
        (json!({ "quota": 7000, "period": 30_000 }), "7000 30000"),
        (json!({ "shares": 2048 }), "7000 30000"),
    ] {
        container.update(&json!({ "cpu": cpu })).ok();
        assert!(container.limits().contains(&format!("cpu.max={wanted} ")), "{cpu}: {wanted}");
    }
}

#[test]
fn vm_docker_update_is_as_with_runc() {
    let steps = [
        "--memory=200m --memory-swap=300m",
        "--cpus=0.5",
        "--memory=100m",
        "--cpu-shares=512",
        "--memory-reservation=50m",
        "--pids-limit=50",
        "--memory=250m --memory-swap=-1",
        "--memory-swap=400m",
        "--cpuset-cpus=0",
        "--pids-limit=-1",
    ];
    beside_runc("docker update", |runtime| {
        let container =
            Container::run_with(runtime, &["--memory=150m", "busybox", "sleep", "1000"]);
        let one = |step: &&str| {
            let words: Vec<_> = step.split(' ').collect();
            let updated = container.with_flags("update", &words);
            // Docker's own words and the reason, which runc has without more.
            let reason =
                updated.stderr.trim().rsplit(": ").nth(1).unwrap_or_default().trim().to_owned();
            format!("{step}: {} {reason} {}", updated.status, limits(container.pid()))
        };
        let mut said: Vec<_> = steps.iter().map(one).collect();
        said.push(limits(container.pid()));
        said
    });
}

/// A limit by name is exact, and one of shares is kept by all others. Only ours: runc 1.1 has another formula.
#[test]
fn vm_sharedroot_keeps_the_weight() {
    let container = Direct::new("sharedroot");
    let weight = || cgroup_file(container.pid, "cpu.weight");
    // 1024 shares are the weight 100 in the newest runc; 512 are 59.
    container.update(&json!({ "cpu": { "shares": 512 } })).ok();
    assert_eq!(weight(), "59");
    for other in [json!({ "cpu": { "quota": 30_000 } }), json!({ "pids": { "limit": 9 } })] {
        container.update(&other).ok();
        assert_eq!(weight(), "59", "{other}");
    }
    container.update(&json!({ "unified": { "cpu.weight": "77" } })).ok();
    assert_eq!(weight(), "77");
}

#[test]
fn vm_exec_joins_a_container_that_divided_its_cgroup() {
    const DIVIDE: &str = "cd /sys/fs/cgroup && busybox mkdir own && echo 1 > own/cgroup.procs && \
                          echo +pids > cgroup.subtree_control && echo divided && sleep 1000";
    beside_runc("exec", |runtime| {
        let flags = ["--privileged", "--cgroupns=private", "busybox", "sh", "-c"];
        let container = Container::run_with(runtime, &[&flags[..], &[DIVIDE]].concat());
        sharedroot_tests::lab::wait_for("it is divided", || {
            container.call("logs", &[]).stdout.contains("divided").then_some(())
        });
        container.exec(&["cat", "/proc/self/cgroup"])
    });
}

/// The engine reckons with less than the kernel and runc do: where it would not get to the kernel's own refusal, we refuse.
#[test]
fn vm_numbers_at_their_ends() {
    for resources in [
        json!({ "cpu": { "cpus": "0" } }),
        json!({ "cpu": { "cpus": "77" } }),
        json!({ "cpu": { "cpus": "0-9999999999" } }),
        json!({ "cpu": { "mems": "0" } }),
        json!({ "cpu": { "quota": i64::MAX } }),
        json!({ "cpu": { "quota": 50_000, "period": 0 } }),
        json!({ "unified": { "cpu.max": "50000 0" } }),
        json!({ "unified": { "cpuset.cpus": "20" } }),
        json!({ "blockIO": { "weight": 500 } }),
        json!({ "blockIO": { "weight": 65535 } }),
        json!({ "memory": { "limit": i64::MAX, "swap": i64::MAX } }),
        json!({ "pids": { "limit": i64::MAX } }),
    ] {
        let seen = RUNTIMES.map(|runtime| {
            let direct = Direct::new(runtime);
            let output = direct.update(&resources);
            println!("{runtime} {resources}: {output}");
            in_words(&output.stderr);
            (output.status, direct.limits())
        });
        let [(runcs, _), (ours, _)] = &seen;
        assert!(*ours == 0 || *ours == 1, "{resources}: no panic: {seen:?}");
        assert_eq!(*ours == 0, *runcs == 0, "{resources}: runc's, ours: {seen:?}");
    }
}
