//! A host with systemd: systemd's cgroup driver. Generic: passes with `RUNTIME=runc`, too.
//!
//! Guest: --systemd --alone --limit 900 --shim long

use std::fs;
use std::time::Duration;

use serde_json::json;
use sharedroot_tests::attack::allow;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{out, run, unique_name};
use sharedroot_tests::docker::{Container, FreshImage, docker, docker_run, runtime};
use sharedroot_tests::kernel_view::{cgroup_file, traps};
use sharedroot_tests::lab::wait_for;
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::systemd::{cgroup_of, property};

const UNTIL_TERM: &str = "trap 'exit 7' TERM; sleep 1000 & wait";

#[test]
fn vm_this_guest_has_systemd() {
    assert_eq!(fs::read_to_string("/proc/1/comm").expect("pid 1").trim(), "systemd");
    assert_eq!(out(&["docker", "info", "--format", "{{.CgroupDriver}}"]), "systemd");
}

#[test]
fn vm_a_container_is_a_scope_of_its_slice() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sh", "-c", UNTIL_TERM]);
    let id = unique_name("scope");
    bundle.edit(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("system.slice:lab:{id}"));
        config["linux"]["resources"] = json!({
            "memory": { "limit": 67_108_864 }, "pids": { "limit": 50 }, "cpu": { "shares": 512, "quota": 50000, "period": 100_000 },
        });
    });
    let systemd = |words: &[&str]| runtime.cmd(&[&["--systemd-cgroup"], words].concat()).run();
    systemd(&["create", "--bundle", bundle.str(), &id]).ok();
    systemd(&["start", &id]).ok();
    let unit = format!("lab-{id}.scope");
    let state = systemd(&["state", &id]).json();
    let pid = i32::try_from(state["pid"].as_i64().expect("a pid")).expect("a pid");

    assert_eq!(cgroup_of(pid), format!("/system.slice/{unit}"));
    assert_eq!(property(&unit, "ActiveState"), "active");
    assert_eq!(property(&unit, "Slice"), "system.slice");
    assert_eq!(property(&unit, "Delegate"), "yes");
    // systemd must know the limits: at its next reload it writes what it knows.
    for (name, value) in
        [("MemoryMax", "67108864"), ("TasksMax", "50"), ("CPUQuotaPerSecUSec", "500ms")]
    {
        assert_eq!(property(&unit, name), value, "{name}");
    }
    for (file, value) in
        [("memory.max", "67108864"), ("pids.max", "50"), ("cpu.max", "50000 100000")]
    {
        assert_eq!(cgroup_file(pid, file), value, "{file}");
    }
    out(&["systemctl", "daemon-reload"]);
    assert_eq!(cgroup_file(pid, "memory.max"), "67108864", "after a reload");
    // Its unit is nobody else's: runc and sharedroot refuse it, each in its words.
    let second = systemd(&["create", "--bundle", bundle.str(), &unique_name("second")]);
    assert_ne!(second.status, 0, "{second}");
    assert!(!runtime.is_sharedroot() || second.stderr.contains("linux.cgroupsPath"), "{second}");
    assert_eq!(cgroup_file(pid, "pids.max"), "50");

    systemd(&["update", "--pids-limit", "77", &id]).ok();
    assert_eq!(
        (cgroup_file(pid, "pids.max"), property(&unit, "TasksMax")),
        ("77".to_owned(), "77".to_owned())
    );
    let stats = systemd(&["events", "--stats", &id]).json();
    assert!(stats.pointer("/data/memory/usage/usage").is_some(), "{stats}");
    // What exec starts is in the same cgroup.
    let inside = systemd(&["exec", &id, "cat", "/proc/self/cgroup"]).ok();
    assert_eq!(inside, "0::/", "{inside}");
    systemd(&["pause", &id]).ok();
    assert!(cgroup_file(pid, "cgroup.events").contains("frozen 1"));
    systemd(&["resume", &id]).ok();

    systemd(&["kill", &id, "KILL"]).ok();
    wait_for("it has stopped", || {
        (systemd(&["state", &id]).json()["status"] == "stopped").then_some(())
    });
    // systemd removes the cgroup, and containerd wants to know what is left in it; runc says null.
    wait_for("its cgroup is gone", || {
        (!fs::exists(format!("/sys/fs/cgroup/system.slice/{unit}")).expect("look")).then_some(())
    });
    let left = systemd(&["ps", "--format", "json", &id]).json();
    assert!(left.as_array().is_none_or(Vec::is_empty), "{left}");
    systemd(&["delete", &id]).ok();
    wait_for("the unit is gone", || (property(&unit, "LoadState") == "not-found").then_some(()));
    assert!(!fs::exists(format!("/sys/fs/cgroup/system.slice/{unit}")).expect("look"));
}

/// The name of a unit is unique on the host, whatever its slice is. So of two containers with one PREFIX:NAME only one can be.
#[test]
fn vm_one_name_in_two_slices_is_one_container() {
    let runtime = Runtime::of_env();
    let name = unique_name("unit");
    let container = |slice: &str, pids: u32| {
        let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
        bundle.edit(|config| {
            config["linux"]["cgroupsPath"] = json!(format!("{slice}.slice:lab:{name}"));
            config["linux"]["resources"] = json!({ "pids": { "limit": pids } });
        });
        (bundle, unique_name(slice))
    };
    let systemd = |words: &[&str]| runtime.cmd(&[&["--systemd-cgroup"], words].concat()).run();
    let create =
        |(bundle, id): &(Bundle, String)| systemd(&["create", "--bundle", bundle.str(), id]);
    let pid = |(_, id): &(Bundle, String)| {
        let state = systemd(&["state", id]).json();
        i32::try_from(state["pid"].as_i64().expect("a pid")).expect("a pid")
    };
    let (one, two) = (container("laba", 50), container("labb", 60));
    create(&one).ok();
    systemd(&["start", &one.1]).ok();
    let first = pid(&one);
    let refused = create(&two);
    systemd(&["delete", "--force", &two.1]);
    assert_ne!(refused.status, 0, "{refused}");
    assert!(!runtime.is_sharedroot() || refused.stderr.contains("linux.cgroupsPath"), "{refused}");
    let scope = format!("lab-{name}.scope");
    assert_eq!(cgroup_of(first), format!("/laba.slice/{scope}"), "it lives");
    assert_eq!(cgroup_file(first, "pids.max"), "50");
    assert_eq!(property(&scope, "TasksMax"), "50");

    // When the first one has stopped, systemd gives the name up, and the second one may have it.
    systemd(&["kill", &one.1, "KILL"]).ok();
    wait_for("it has stopped", || {
        (systemd(&["state", &one.1]).json()["status"] == "stopped").then_some(())
    });
    create(&two).ok();
    let second = pid(&two);
    assert_eq!(cgroup_of(second), format!("/labb.slice/{scope}"));
    systemd(&["delete", &one.1]).ok();
    // runc 1.1 stops the unit of this name.
    if runtime.is_sharedroot() {
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(property(&scope, "ActiveState"), "active");
        assert_eq!(cgroup_of(second), format!("/labb.slice/{scope}"), "it lives");
    }
    systemd(&["delete", "--force", &two.1]).ok();
}

/// systemd makes the cgroup; what may be opened in it is the configuration's word.
#[test]
fn vm_device_rules_are_enforced_in_a_scope() {
    // The guest's root disk is 98:0.
    const LOOK: &str = "busybox mknod /dev/disk b 98 0 || exit 9
        for device in disk zero; do if (exec 3< /dev/$device); then echo $device; fi; done";
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sh", "-c", LOOK]);
    let deny = json!({ "allow": false, "access": "rwm" });
    let disk = json!({ "allow": true, "type": "b", "major": 98, "minor": 0, "access": "rm" });
    for (resources, opened) in [
        (json!({}), "zero"),
        (json!({ "devices": [deny] }), "zero"),
        (json!({ "devices": [deny, disk] }), "disk\nzero"),
    ] {
        let id = unique_name("devices");
        bundle.edit(|config| {
            config["root"]["readonly"] = json!(false);
            allow(config, &["CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
            config["linux"]["cgroupsPath"] = json!(format!("system.slice:lab:{id}"));
            config["linux"]["resources"] = resources.clone();
        });
        let _ = fs::remove_file(bundle.path().join("rootfs/dev/disk"));
        let run = ["--systemd-cgroup", "run", "--bundle", bundle.str(), &id];
        assert_eq!(runtime.cmd(&run).run().ok(), opened, "{resources}");
    }
}

#[test]
fn vm_docker_with_systemds_driver() {
    for kind in [&["--read-only"][..], &[]] {
        let flags = ["--memory=64m", "--pids-limit=50", "busybox", "sh", "-c", UNTIL_TERM];
        let container = Container::generic(&[kind, &flags].concat());
        let unit = format!("docker-{}.scope", container.id);
        assert_eq!(cgroup_of(container.pid()), format!("/system.slice/{unit}"), "{kind:?}");
        assert_eq!(property(&unit, "MemoryMax"), "67108864", "{kind:?}");
        container.with_flags("update", &["--pids-limit=77"]).ok();
        assert_eq!(property(&unit, "TasksMax"), "77", "{kind:?}");
        wait_for("figures, which docker waits two seconds for", || {
            let words = ["--no-stream", "--format={{.MemUsage}}"];
            container.with_flags("stats", &words).ok().ends_with("/ 64MiB").then_some(())
        });
        traps(container.pid(), 15);
        container.call("stop", &[]).ok();
        assert_eq!(container.inspect(".State.ExitCode"), "7", "{kind:?}");
        drop(container);
        wait_for("the unit is gone", || {
            (property(&unit, "LoadState") == "not-found").then_some(())
        });
    }
}

#[test]
fn vm_a_container_that_cannot_start_leaves_no_unit() {
    let flags = ["--read-only", "busybox", "/no/such/program"];
    let name = format!("--runtime={}", runtime());
    let refused = run(&[&["docker", "run", "--rm", "--network=none", &name], &flags[..]].concat());
    refused.fails(127);
    // systemd forgets a unit in its own time.
    let list = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "docker-*.scope"];
    wait_for("no unit is left", || out(&list).is_empty().then_some(()));
}

#[test]
fn vm_a_cgroups_path_that_is_none_of_systemds_is_refused() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["true"]);
    bundle.edit(|config| config["linux"]["cgroupsPath"] = json!("/not/three/parts"));
    let id = unique_name("refused");
    let refused = runtime.cmd(&["--systemd-cgroup", "create", "--bundle", bundle.str(), &id]).run();
    assert_ne!(refused.status, 0, "{refused}");
    assert_ne!(runtime.cmd(&["state", &id]).run().status, 0, "nothing is left of it");
}

/// The units of `systemd/` as an administrator installs them. Only ours, whatever the runtime.
#[test]
fn vm_the_units_of_the_pool_and_of_gc() {
    for (name, text) in [
        ("sharedroot-pool.service", include_str!("../../systemd/sharedroot-pool.service")),
        ("sharedroot-gc.service", include_str!("../../systemd/sharedroot-gc.service")),
        ("sharedroot-gc.timer", include_str!("../../systemd/sharedroot-gc.timer")),
    ] {
        let path = format!("/run/systemd/system/{name}");
        fs::create_dir_all("/run/systemd/system").expect("make a directory");
        fs::write(&path, text).expect("write a unit");
        out(&["systemd-analyze", "verify", "--man=no", &path]);
    }
    out(&["systemctl", "daemon-reload"]);
    let image = FreshImage::new();
    docker_run("sharedroot", &["--read-only", image.name(), "true"]).ok();
    docker(&["rmi", image.name()]).ok();
    let unwanted = || out(&["sharedroot", "gc", "--dry-run"]).contains("its image is gone");
    assert!(unwanted());
    out(&["systemctl", "start", "sharedroot-gc.service"]);
    assert_eq!(property("sharedroot-gc.service", "Result"), "success");
    assert!(!unwanted());
    out(&["systemctl", "start", "sharedroot-gc.timer"]);
    assert_eq!(property("sharedroot-gc.timer", "ActiveState"), "active");
    out(&["systemctl", "stop", "sharedroot-gc.timer"]);

    out(&["systemctl", "start", "sharedroot-pool.service"]);
    assert_eq!(property("sharedroot-pool.service", "ActiveState"), "active");
    assert!(out(&["sharedroot", "status"]).contains("(rw)"));
    out(&["systemctl", "stop", "sharedroot-pool.service"]);
    assert_eq!(property("sharedroot-pool.service", "Result"), "success");
    assert!(out(&["sharedroot", "status"]).contains("(inactive)"));
}
