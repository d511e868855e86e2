//! A host with systemd: the end of a container with systemd's cgroup driver, and units that are another's. Generic: the first test
//! passes with `RUNTIME=runc`, too.
//!
//! Guest: --no-docker --systemd --limit 400

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use sharedroot_tests::attack::{own_cgroup, report};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::unique_name;
use sharedroot_tests::lab::wait_for;
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::systemd::{cgroup_of, property};

/// A container that has ended and is not deleted, and a later one with the same unit: the unit is the later one's.
#[test]
fn vm_delete_leaves_a_later_container_with_the_same_unit() {
    let runtime = Runtime::of_env();
    for flags in [&[][..], &["--force"]] {
        let name = unique_name("unit");
        let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
        bundle.edit(|config| {
            config["linux"]["cgroupsPath"] = json!(format!("system.slice:lab:{name}"));
        });
        let systemd = |words: &[&str]| runtime.cmd(&[&["--systemd-cgroup"], words].concat()).run();
        let (ended, later) = (unique_name("ended"), unique_name("later"));
        let start = |id: &str| {
            systemd(&["create", "--bundle", bundle.str(), id]).ok();
            systemd(&["start", id]).ok();
            let state = systemd(&["state", id]).json();
            i32::try_from(state["pid"].as_i64().expect("a pid")).expect("a pid")
        };
        start(&ended);
        systemd(&["kill", &ended, "KILL"]).ok();
        wait_for("it has stopped", || {
            (systemd(&["state", &ended]).json()["status"] == "stopped").then_some(())
        });
        let scope = format!("lab-{name}.scope");
        wait_for("systemd has given the unit up", || {
            (property(&scope, "LoadState") == "not-found").then_some(())
        });
        let pid = start(&later);
        let said = systemd(&[&["delete"], flags, &[&ended]].concat());
        report(&said.to_string());
        std::thread::sleep(Duration::from_secs(1));
        if runtime.is_sharedroot() {
            assert_eq!(said.status, 0, "{said}");
            assert_eq!(property(&scope, "ActiveState"), "active");
            assert_eq!(cgroup_of(pid), format!("/system.slice/{scope}"), "it lives");
            assert_eq!(systemd(&["state", &later]).json()["status"], "running");
        } else {
            report(&format!("the later one: {}", systemd(&["state", &later])));
        }
        systemd(&["delete", "--force", &later]);
        wait_for("the unit is gone", || {
            (property(&scope, "LoadState") == "not-found").then_some(())
        });
    }
}

/// `delete --force` waits for the end of the processes that it kills in the scope of a container whose state is cut short. Ours
/// alone: runc has another state.
#[test]
fn vm_sharedroot_ends_a_scope_without_a_state() {
    let runtime = Runtime::sharedroot();
    let many = "i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i + 1)); done; wait";
    let bundle = Bundle::new(&runtime, &["sh", "-c", many]);
    let id = unique_name("scope");
    bundle.edit(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("system.slice:lab:{id}"));
    });
    let systemd = |words: &[&str]| runtime.cmd(&[&["--systemd-cgroup"], words].concat()).run();
    systemd(&["create", "--bundle", bundle.str(), &id]).ok();
    systemd(&["start", &id]).ok();
    let list = || systemd(&["ps", "--format", "json", &id]).json();
    wait_for("its processes", || (list().as_array()?.len() == 41).then_some(()));
    let pids = list();
    let state = Path::new(runtime.root()).join(&id).join("state.json");
    fs::write(&state, "").expect("cut it short");
    systemd(&["delete", "--force", &id]).ok();
    // systemd reaps them in its own time.
    let is_alive = |pid: &&serde_json::Value| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    };
    assert_eq!(pids.as_array().expect("a list").iter().filter(is_alive).count(), 0);
    assert!(!state.exists());
    let scope = format!("/sys/fs/cgroup/system.slice/lab-{id}.scope");
    wait_for("its cgroup is gone", || (!fs::exists(&scope).expect("look")).then_some(()));
}

/// What the container made below its scope is deeper than a path can say, and its processes are in the deepest cgroup. Ours
/// alone: runc goes by path.
#[test]
fn vm_sharedroot_ends_cgroups_deeper_than_any_path() {
    const DIVIDE: &str = "n=$(printf '%0250d' 0); cd /sys/fs/cgroup; \
        for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do mkdir $n && cd -P $n || exit 1; done; \
        sleep 1000 & echo $! > cgroup.procs; echo $$ > cgroup.procs; mkdir /sys/fs/cgroup/done; exec sleep 1000";
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sh", "-c", DIVIDE]);
    let id = unique_name("scope");
    bundle.edit(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("system.slice:lab:{id}"));
        own_cgroup(config);
    });
    let systemd = |words: &[&str]| runtime.cmd(&[&["--systemd-cgroup"], words].concat()).run();
    systemd(&["create", "--bundle", bundle.str(), &id]).ok();
    systemd(&["start", &id]).ok();
    let scope = format!("/sys/fs/cgroup/system.slice/lab-{id}.scope");
    wait_for("it has divided its cgroup", || {
        fs::exists(format!("{scope}/done")).expect("look").then_some(())
    });
    let processes = || systemd(&["ps", "--format", "json", &id]).json();
    wait_for("both are there", || (processes().as_array()?.len() == 2).then_some(()));
    systemd(&["kill", "--all", &id, "KILL"]).ok();
    wait_for("it has stopped", || {
        (systemd(&["state", &id]).json()["status"] == "stopped").then_some(())
    });
    let began = Instant::now();
    systemd(&["delete", "--force", &id]).ok();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    wait_for("its cgroup is gone", || (!fs::exists(&scope).expect("look")).then_some(()));
}

/// A unit in which a process is so deep that its cgroup has no path is not taken. Ours alone, because runc looks at the unit's own
/// cgroup only.
#[test]
fn vm_sharedroot_takes_no_unit_with_processes_deeper_than_any_path() {
    const DIVIDE: &str = "n=$(printf '%0250d' 0); cd $1; \
        for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do mkdir $n && cd -P $n || exit 1; done; \
        echo $$ > cgroup.procs; mkdir $1/done; exec sleep 1000";
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let id = unique_name("scope");
    bundle.edit(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("lab-deep.slice:lab:{id}"));
    });
    let (unit, slice) = (format!("lab-{id}.scope"), "/sys/fs/cgroup/lab.slice/lab-deep.slice");
    let scope = format!("{slice}/{unit}");
    let mut other = Command::new("systemd-run")
        .args(["--quiet", "--scope", "--slice=lab-deep.slice", "-p", "Delegate=yes"])
        .args([&format!("--unit={unit}"), "busybox", "sh", "-c", DIVIDE, "sh", &scope])
        .spawn()
        .expect("start systemd-run");
    wait_for("it has divided its cgroup", || {
        fs::exists(format!("{scope}/done")).expect("look").then_some(())
    });
    let create =
        |id: &str| runtime.cmd(&["--systemd-cgroup", "create", "--bundle", bundle.str(), id]).run();
    let said = create(&id);
    let container = runtime.container(id.clone());
    let exists = container.exists();
    drop(container);
    other.kill().expect("end it");
    other.wait().expect("wait");
    assert!(said.status != 0 && !exists, "{said}");
    let words = format!("has the process {}", other.id());
    assert!(said.stderr.contains("linux.cgroupsPath") && said.stderr.contains(&words), "{said}");
    wait_for("its cgroup is gone", || (!fs::exists(&scope).expect("look")).then_some(()));
    // An empty slice is no reason.
    create(&id).ok();
    runtime.cmd(&["--systemd-cgroup", "delete", "--force", &id]).run().ok();
}
