//! `delete --force` of a container whose state the engine cannot read: a command that was killed while it wrote `state.json`, or a
//! full `/run`, leaves that for good. No process is left, and nothing that the container wrote is lost.
//!
//! Guest: --no-docker

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use sharedroot_tests::attack::own_cgroup;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::kept::{nothing_is_kept, root, starts};
use sharedroot_tests::lab::{TempDir, only_in_lab, wait_for};
use sharedroot_tests::pool::{has, small_bases};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

/// Writes a file, and has one process more, in a cgroup below the container's own. The second one is not in the PID namespace of
/// the first, because there is none.
const PROGRAM: &str = "mkdir /sys/fs/cgroup/below && sh -c 'echo $$ > /sys/fs/cgroup/below/cgroup.procs; exec sleep 1000' & \
    echo kept > /etc/kept; exec sleep 1000";

/// Where the init process is when `delete` ends the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Init {
    InItsCgroup,
    Outside,
}

/// The processes in the container's cgroup and below it.
fn processes(cgroup: &str) -> Vec<String> {
    let lists = out(&["find", cgroup, "-name", "cgroup.procs"]);
    let read = |list: &str| fs::read_to_string(list).unwrap_or_default();
    lists
        .lines()
        .flat_map(|list| read(list).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn nothing_is_left(init: Init) {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image, said) = (Runtime::sharedroot(), Image::new(), TempDir::new("said"));
    let bundle = image.bundle(&runtime, false, &["sh", "-c", PROGRAM]);
    let (id, stopped) = (unique_name("c"), format!("{}/stopped", said.str()));
    bundle.edit(|config| {
        own_cgroup(config);
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "pid");
        config["linux"]["cgroupsPath"] = json!(format!("/{id}"));
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", format!("cat > {stopped}")]});
        config["hooks"] = json!({"poststop": [hook]});
    });
    let (container, top) = starts(&runtime, &bundle, &id);
    let cgroup = format!("/sys/fs/cgroup/{id}");
    wait_for("both processes", || (processes(&cgroup).len() == 2).then_some(()));
    wait_for("its file", || top.join("etc/kept").exists().then_some(()));
    let pids = processes(&cgroup);
    if init == Init::Outside {
        fs::write("/sys/fs/cgroup/cgroup.procs", container.pid().to_string()).expect("move it");
    }
    let state = Path::new(runtime.root()).join(&id).join("state.json");
    fs::write(&state, "").expect("cut it short");
    let refused = container.call("delete", &[]);
    assert_ne!(refused.status, 0, "{refused}");
    assert!(pids.iter().all(|pid| Path::new("/proc").join(pid).exists()), "only --force ends them");
    let said = container.call("delete", &["--force"]);
    let end = Instant::now() + Duration::from_secs(5);
    let left = || pids.iter().filter(|pid| Path::new("/proc").join(pid).exists()).count();
    while left() > 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    let (left, cgroup_left) = (left(), Path::new(&cgroup).exists());
    for pid in &pids {
        sharedroot_tests::command::run(&["kill", "-KILL", pid]);
    }
    assert_eq!((said.status, left, cgroup_left), (0, 0, false), "{init:?}: {said}");
    assert!(!state.parent().expect("a parent").exists());
    let engines = Path::new(&bundle.rootfs).join("etc/kept");
    assert_eq!(fs::read_to_string(engines).expect("it is written back"), "kept\n");
    let told: serde_json::Value =
        serde_json::from_slice(&fs::read(&stopped).expect("the hook ran"))
            .expect("the state is JSON");
    assert_eq!((&told["id"], &told["status"]), (&json!(id), &json!("stopped")));
    nothing_is_kept();
}

#[test]
fn vm_no_process_is_left_of_a_container_without_a_state() {
    nothing_is_left(Init::InItsCgroup);
}

#[test]
fn vm_an_init_outside_of_its_cgroup_is_ended_without_a_state() {
    nothing_is_left(Init::Outside);
}

/// What another runtime, or nobody, left in the state root.
#[test]
fn vm_only_what_is_known_to_be_dead_is_forgotten() {
    only_in_lab();
    let runtime = Runtime::sharedroot();
    let container = runtime.container(unique_name("c"));
    let dir = Path::new(runtime.root()).join(&container.id);
    fs::create_dir(&dir).expect("make its directory");
    fs::write(dir.join("state.json"), r#"{"id": "of another runtime"}"#).expect("write a state");
    let said = container.call("delete", &["--force"]);
    assert_ne!(said.status, 0, "{said}");
    has(&said.stderr, &[&container.id]);
    assert!(dir.join("state.json").exists(), "its processes may run");
    // As runc: a `create` that was killed before it wrote a state.
    fs::remove_file(dir.join("state.json")).expect("remove the state");
    for runtime in [&Runtime::runc(), &runtime] {
        let dir = Path::new(runtime.root()).join(&container.id);
        fs::create_dir_all(&dir).expect("make its directory");
        runtime.cmd(&["delete", "--force", &container.id]).run().ok();
        assert!(!dir.exists(), "{}", runtime.program());
    }
}

/// A `create` that was killed before its engine wrote a state has left an init process in its cgroup.
#[test]
fn vm_the_process_of_a_killed_create_is_ended() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    bundle.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("/{id}")));
    runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().ok();
    let container = runtime.container(id);
    let (pid, top) = (container.pid(), root(&container));
    assert!(top.exists());
    let state = Path::new(runtime.root()).join(&container.id).join("state.json");
    fs::remove_file(state).expect("remove the state");
    container.call("delete", &["--force"]).ok();
    let left = Path::new("/proc").join(pid.to_string()).exists();
    if left {
        out(&["kill", "-KILL", &pid.to_string()]);
    }
    assert!(!left, "process {pid} is left");
    nothing_is_kept();
}
