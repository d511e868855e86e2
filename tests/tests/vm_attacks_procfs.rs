//! Something else in the place of procfs (CVE-2019-16884, CVE-2023-28642, CVE-2025-52881). Generic, but crun lets a
//! volume cover `/proc`. The label of an exec is in `vm_attacks_labels.rs`.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;
use sharedroot_tests::attack::{Target, bind, targets};
use sharedroot_tests::command::unique_name;
use sharedroot_tests::kernel_view::mounts_of;
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

/// Where procfs must be, and alone, when a container runs.
#[track_caller]
fn procfs_is_at_proc(pid: i32, target: &Target) {
    let mounts = mounts_of(&pid.to_string());
    let over: Vec<_> = mounts.iter().filter(|mount| mount.at == "/proc").collect();
    assert!(over.len() == 1 && over[0].fstype == "proc", "{}: {over:#?}", target.kind);
}

/// `create` must fail with these words in its error, and leave nothing.
#[track_caller]
fn refused(runtime: &Runtime, target: &Target, words: &[&str]) {
    let id = unique_name("refused");
    let container = runtime.container(id);
    let flags = ["create", "--bundle", target.str(), &container.id];
    let output = runtime.cmd(&flags).run();
    assert_ne!(output.status, 0, "{} {words:?}: {output}", target.kind);
    assert!(
        words.iter().all(|word| output.stderr.contains(word)),
        "{} {words:?}: {output}",
        target.kind
    );
    assert!(!container.exists(), "{}: {output}", target.kind);
}

#[test]
fn vm_procfs_is_where_it_belongs() {
    let runtime = Runtime::of_env();
    for target in targets(&runtime, &["sleep", "1000"], |_| {}) {
        procfs_is_at_proc(target.start(&runtime).pid(), &target);
    }
}

#[test]
fn vm_proc_is_no_link_of_the_image() {
    let runtime = Runtime::of_env();
    for aim in ["/tmp/fake", "tmp/fake", "../../../../../../tmp/fake", "/", "/proc/self"] {
        let image = |root: &Path| {
            fs::remove_dir(root.join("proc")).unwrap();
            fs::create_dir_all(root.join("tmp/fake/self/attr")).unwrap();
            symlink(aim, root.join("proc")).unwrap();
        };
        for target in targets(&runtime, &["sleep", "1000"], image) {
            refused(&runtime, &target, &["proc"]);
        }
    }
}

#[test]
fn vm_no_volume_covers_proc() {
    let (runtime, volume) = (Runtime::of_env(), TempDir::new("volume"));
    fs::create_dir_all(volume.0.join("self/attr")).unwrap();
    let image = |root: &Path| {
        symlink("/proc", root.join("tmp/absolute")).unwrap();
        symlink("../../../proc", root.join("tmp/relative")).unwrap();
        fs::create_dir(root.join("volume")).unwrap();
    };
    let places = [
        "/proc",
        "/proc/",
        "/tmp/../proc",
        "/proc/self",
        "/proc/sys/kernel",
        "/tmp/absolute",
        "/tmp/relative",
    ];
    for target in targets(&runtime, &["sleep", "1000"], image) {
        let before = fs::read_to_string(target.config_path()).unwrap();
        for place in places {
            target.edit(|config| bind(config, volume.str(), place));
            refused(&runtime, &target, &["/proc"]);
            fs::write(target.config_path(), &before).unwrap();
        }
        target.edit(|config| {
            let tmpfs = json!({ "destination": "/proc", "type": "tmpfs", "source": "tmpfs" });
            config["mounts"].as_array_mut().unwrap().push(tmpfs);
        });
        refused(&runtime, &target, &["/proc"]);
        fs::write(target.config_path(), &before).unwrap();
        // The same volume elsewhere is mounted: it is the place that is refused.
        target.edit(|config| bind(config, volume.str(), "/volume"));
        let container = target.start(&runtime);
        procfs_is_at_proc(container.pid(), &target);
        assert_eq!(container.exec(&[], &["ls", "/volume"]).ok(), "self", "{}", target.kind);
    }
}

/// A sysctl of the container arrives in procfs, whatever a volume holds under that name.
#[test]
fn vm_a_sysctl_goes_to_procfs() {
    let (runtime, volume) = (Runtime::of_env(), TempDir::new("volume"));
    let file = volume.0.join("domainname");
    fs::write(&file, "untouched").unwrap();
    let image = |root: &Path| symlink("/proc/sys/kernel", root.join("tmp/kernel")).unwrap();
    for target in targets(&runtime, &["sleep", "1000"], image) {
        target.edit(|config| config["linux"]["sysctl"] = json!({ "kernel.domainname": "set" }));
        let container = target.start(&runtime);
        let name = container.exec(&[], &["cat", "/proc/sys/kernel/domainname"]).ok();
        assert_eq!(name, "set", "{}", target.kind);
        drop(container);
        target.edit(|config| bind(config, file.to_str().unwrap(), "/tmp/kernel/domainname"));
        let container = runtime.container(unique_name("sysctl"));
        let created = runtime.cmd(&["create", "--bundle", target.str(), &container.id]).run();
        assert_eq!(fs::read_to_string(&file).unwrap(), "untouched", "{}: {created}", target.kind);
        drop(container);
        refused(&runtime, &target, &["/proc"]);
    }
}
