//! The runtime and the shim on roots of the snapshotter: they know what they got by the kernel's own mount, make no base and no
//! snapshot of their own, write nothing back, and give nobody a base whose file system the container could shut down.
//!
//! Guest: --with snapshotter --with shim --alone --limit 1500 --takes 120 --unstable plain

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sharedroot_tests::attack::allow;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{Cmd, out, run};
use sharedroot_tests::kernel_view::{identity, mounts_of, root_of};
use sharedroot_tests::lab::{RUN_DIR, TempDir, wait_for};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::shim::{ctr, install_program};
use sharedroot_tests::snapshotter::{
    Containerd, IMAGE, Snapshotter, Task, bases, collect, import, snapshots,
};

/// How containers of ctr's get sharedroot: by containerd's own shim, and by ours.
const WAYS: [[&str; 2]; 2] =
    [["--runc-binary", "/usr/local/bin/sharedroot"], ["--runtime", "io.containerd.sharedroot.v2"]];
/// `EXT4_IOC_SHUTDOWN` of linux/ext4.h, without a flush of the journal, on the directory that is named.
const SHUTDOWN: &str = "import fcntl, os, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, (2).to_bytes(4, 'little'))";

#[track_caller]
fn asked(words: &[&str]) -> Value {
    Cmd::new("sharedroot").args(words).run().json()
}

/// No volume but those of the snapshotter: no base and no snapshot of the runtime's.
#[track_caller]
fn only_layers() {
    let devices = out(&["dmsetup", "ls"]);
    assert!(!devices.contains("-base-") && !devices.contains("-private-"), "{devices}");
    let state = fs::read_dir("/var/lib/sharedroot").expect("the state directory").flatten();
    let names = state.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let notes: Vec<_> = names.filter(|name| name.starts_with("private-")).collect();
    assert!(notes.is_empty(), "nothing is to be written back: {notes:?}");
}

/// How many mounts of the host have a bundle's root as their place.
fn bundle_mounts() -> usize {
    mounts_of("self").iter().filter(|mount| mount.at.ends_with("/rootfs")).count()
}

#[test]
fn vm_a_root_of_the_snapshotter_is_known_and_shown() {
    let (_snapshotter, _containerd) = (Snapshotter::start(), Containerd::with_snapshotter());
    install_program();
    import("sharedroot");
    for way in WAYS {
        let run = |flags: &[&str]| Task::run("sharedroot", &[&way[..], flags].concat());
        let shared = [run(&["--read-only"]), run(&["--read-only"])];
        let own = run(&["--annotation", "dev.sharedroot.size=512M"]);
        let [first, second] = [0, 1].map(|at| shared[at].pid());
        assert_eq!(identity(first, "/usr/bin"), identity(second, "/usr/bin"), "{way:?}");
        assert_eq!(bases().len(), 1, "{way:?}");
        // The shim needs no mount of the host for a root that it shares.
        let expected = if way[0] == "--runtime" { 1 } else { 3 };
        assert_eq!(bundle_mounts(), expected, "{way:?}");

        let status = asked(&["status", "--json"]);
        let kinds = &status["containers"];
        assert_eq!(
            (&kinds["shared"], &kinds["private"]),
            (&json!(2), &json!(1)),
            "{way:?}: {kinds}"
        );
        assert_eq!(kinds["not_shared"], json!([]), "{way:?}");
        let root = &status["private_roots"][0];
        assert_eq!(
            (&root["id"], &root["limit_bytes"]),
            (&json!(own.0), &json!(512 << 20)),
            "{root}"
        );
        let images = asked(&["image", "list", "--json"])["images"].clone();
        let mut users: Vec<_> = images[0]["shared_by"].as_array().expect("a list").clone();
        users.sort_by_key(Value::to_string);
        let mut wanted = shared.iter().map(|task| json!(task.0)).collect::<Vec<_>>();
        wanted.sort_by_key(Value::to_string);
        assert_eq!(users, wanted, "{way:?}: {images}");
        assert_eq!(images[0]["mount_point"], json!(bases()[0].at), "{images}");
        let refused = Cmd::new("sharedroot")
            .args(&["image", "rm", images[0]["key"].as_str().expect("a key")])
            .run();
        assert!(refused.status != 0 && refused.stderr.contains("the snapshotter's"), "{refused}");
        only_layers();

        // A mount point that the image lacks is above the base, for this container alone.
        let dir = TempDir::new("volume");
        fs::write(dir.0.join("file"), "of the volume").expect("write a file");
        let mount = format!("type=bind,src={},dst=/a/new/place,options=rbind:ro", dir.str());
        let with_volume = run(&["--read-only", "--mount", &mount]);
        let path = format!("/proc/{}/root/a/new/place/file", with_volume.pid());
        assert_eq!(fs::read_to_string(path).expect("a file"), "of the volume", "{way:?}");
        assert!(!Path::new(&bases()[0].at).join("a").exists());
        drop((shared, own, with_volume));
        collect();
        assert_eq!(asked(&["status", "--json"])["containers"]["shared"], json!(0), "{way:?}");
        only_layers();
    }
    ctr(&["image", "rm", "--sync", IMAGE]).ok();
    wait_for("no base is mounted", || bases().is_empty().then_some(()));
}

#[test]
fn vm_nobody_shuts_a_layer_down() {
    let (_snapshotter, _containerd) = (Snapshotter::start(), Containerd::with_snapshotter());
    install_program();
    import("sharedroot");
    for way in WAYS {
        let run_with = |flags: &[&str]| Task::run("sharedroot", &[&way[..], flags].concat());
        let other = run_with(&["--read-only"]);
        let base = root_of(other.pid());
        assert!(base.is_on_dm(), "without the capability nothing is above the base: {base:?}");
        let capable = run_with(&["--read-only", "--cap-add", "CAP_SYS_ADMIN"]);
        let root = root_of(capable.pid());
        assert_eq!(root.fstype, "overlay", "{way:?}");
        assert!(root.super_options.contains(RUN_DIR), "above the base: {root:?}");
        for path in ["", "/etc", "/usr/bin"] {
            let path = format!("/proc/{}/root{path}", capable.pid());
            let said = run(&["python3", "-c", SHUTDOWN, &path]);
            assert!(said.stderr.contains("Errno 25"), "no such ioctl on an overlay: {said}");
        }
        let mounted = mounts_of(&capable.pid().to_string());
        let seen: Vec<_> = mounted.iter().filter(|mount| mount.device == base.device).collect();
        assert!(seen.is_empty(), "{way:?}: it sees no mount of the base: {seen:?}");
        out(&["sh", "-c", "echo 3 > /proc/sys/vm/drop_caches"]);
        fs::read(format!("/proc/{}/root/usr/bin/redis-server", other.pid()))
            .expect("the base lives");
    }
    // Whoever gives a base as a root, and forbids an overlay above it, gets no container with the capability.
    let other = Task::run("sharedroot", &[&WAYS[0][..], &["--read-only"]].concat());
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let root = bundle.path().join("rootfs");
    let root = root.to_str().expect("a path of text");
    out(&["mount", "--bind", &bases()[0].at, root]);
    for place in [root, &bases()[0].at] {
        bundle.edit(|config| {
            config["root"] = json!({ "path": place, "readonly": true });
            config["annotations"] = json!({ "dev.sharedroot.mode": "off" });
            allow(config, &["CAP_SYS_ADMIN"]);
        });
        let container = runtime.container(format!("capable-{}", place.len()));
        let said = container.call("create", &["--bundle", bundle.str()]);
        assert!(said.status != 0 && said.stderr.contains("has CAP_SYS_ADMIN"), "{place}: {said}");
        assert!(!container.exists());
    }
    out(&["umount", root]);
    fs::read(format!("/proc/{}/root/usr/bin/redis-server", other.pid())).expect("the base lives");
    drop(other);
    ctr(&["image", "rm", "--sync", IMAGE]).ok();
}

/// A view shows the device of the layer itself, which every other view and the base of the layer show, too.
#[test]
fn vm_a_view_of_a_layer_is_no_root_with_cap_sys_admin() {
    let (_snapshotter, _containerd) = (Snapshotter::start(), Containerd::with_snapshotter());
    import("sharedroot");
    let list = snapshots(&["ls"]).ok();
    let rows: Vec<Vec<_>> = list.lines().map(|row| row.split_whitespace().collect()).collect();
    let is_parent = |key: &str| rows.iter().any(|row| row.len() == 3 && row[1] == key);
    let top = rows.iter().skip(1).map(|row| row[0]).find(|key| !is_parent(key));
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let root = bundle.path().join("rootfs");
    let root = root.to_str().expect("a path of text");
    let mount = snapshots(&["view", "--target", root, "view", top.expect("a layer")]).ok();
    out(&["sh", "-c", &mount]);
    for is_capable in [false, true] {
        bundle.edit(|config| {
            config["root"]["readonly"] = json!(true);
            if is_capable {
                allow(config, &["CAP_SYS_ADMIN"]);
            }
        });
        let container = runtime.container(format!("view-{is_capable}"));
        let said = container.call("create", &["--bundle", bundle.str()]);
        let is_refused = said.status != 0 && said.stderr.contains("has CAP_SYS_ADMIN");
        assert_eq!(is_refused, is_capable, "{said}");
        assert_eq!(container.exists(), !is_capable, "{said}");
    }
    out(&["umount", root]);
    snapshots(&["rm", "view"]).ok();
    ctr(&["image", "rm", "--sync", IMAGE]).ok();
}
