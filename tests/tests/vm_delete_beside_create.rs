//! A `delete` beside a command that works on the same container for long: no root, no note and no record is removed from under
//! it.
//! Sharedroot's own: other runtimes have no such root.
//!
//! Guest: --no-docker

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use rustix::fs::FlockOperation;
use sharedroot_tests::command::unique_name;
use sharedroot_tests::kept::{notes, nothing_is_kept, snapshots, starts};
use sharedroot_tests::lab::{only_in_lab, wait_for};
use sharedroot_tests::pool::{has, small_bases};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

/// A start holds the lock of its snapshot while it makes its root.
#[test]
fn vm_no_root_is_removed_that_a_start_makes() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let (container, top) = starts(&runtime, &bundle, &id);
    fs::write(top.join("etc/unique"), "container").unwrap();
    let locks = File::options().write(true).open("/run/sharedroot/snapshots.lock").unwrap();
    rustix::fs::fcntl_lock(&locks, FlockOperation::LockExclusive).unwrap();
    let said = container.call("delete", &["--force"]);
    assert_ne!(said.status, 0, "{said}");
    has(&said.stderr, &[&id, "another command has worked on the container's root for 10 s"]);
    assert_eq!((container.status().as_str(), notes(), snapshots().len()), ("running", 1, 1));
    rustix::fs::fcntl_lock(&locks, FlockOperation::Unlock).unwrap();
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    let engines = Path::new(&bundle.rootfs).join("etc/unique");
    assert_eq!(fs::read_to_string(engines).unwrap(), "container");
}

/// When the `create` fails, it removes what has its ID.
#[test]
fn vm_an_id_is_its_creates_until_that_has_ended() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let begun = Path::new(bundle.str()).join("begun");
    let script = format!("touch {}; sleep 30", begun.display());
    bundle.edit(|config| {
        let hook = serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        config["hooks"] = serde_json::json!({"createRuntime": [hook]});
    });
    let mut create = std::process::Command::new(runtime.program())
        .args(["--root", runtime.root(), "create", "--bundle", bundle.str(), &id])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the hook runs", || begun.exists().then_some(()));
    let container = runtime.container(id.clone());
    let said = container.call("delete", &["--force"]);
    assert_ne!(said.status, 0, "{said}");
    has(&said.stderr, &[&id, "another command of the container goes on"]);
    assert_eq!((notes(), snapshots().len()), (1, 1));
    let again = runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run();
    has(&again.stderr, &["already exists"]);
    assert!(!create.wait().unwrap().success());
    nothing_is_kept();
    container.call("delete", &["--force"]).ok();
    assert!(!container.exists());
}
