//! A `delete` beside a command that works on the same container for long: no root, no note and no record is removed from under
//! it.
//! Sharedroot's own: other runtimes have no such root.
//!
//! Guest: --no-docker

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::kept::{notes, nothing_is_kept, snapshots, starts};
use sharedroot_tests::lab::{only_in_lab, wait_for};
use sharedroot_tests::pool::{has, small_bases};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::{Image, Stacked};

/// Runs the runtime beside the test.
fn spawn(runtime: &Runtime, words: &[&str]) -> Child {
    spawn_with(runtime, words, Stdio::null())
}

fn spawn_with(runtime: &Runtime, words: &[&str], stderr: Stdio) -> Child {
    let mut command = Command::new(runtime.program());
    command.args(["--root", runtime.root()]);
    runtime.engine().map(|engine| command.args(["--engine", engine]));
    command.args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap()
}

/// A `create` whose hook says that it runs, and takes so many seconds.
fn create_with_hook(runtime: &Runtime, bundle: &Stacked, id: &str, seconds: u32) -> Child {
    let begun = Path::new(bundle.str()).join("begun");
    let script = format!("touch {}; sleep {seconds}", begun.display());
    bundle.edit(|config| {
        let hook = serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script]});
        config["hooks"] = serde_json::json!({"createRuntime": [hook]});
    });
    let create = spawn(runtime, &["create", "--bundle", bundle.str(), id]);
    wait_for("the hook runs", || begun.exists().then_some(()));
    create
}

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
    let mut create = create_with_hook(&runtime, &bundle, &id, 30);
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

/// `delete` and the undo of the `create` do not wait for each other's locks.
#[test]
fn vm_delete_goes_on_when_the_create_has_ended() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
    let mut create = create_with_hook(&runtime, &bundle, &id, 12);
    let began = Instant::now();
    let container = runtime.container(id);
    container.call("delete", &["--force"]).ok();
    assert!(began.elapsed() < Duration::from_secs(18), "{:?}", began.elapsed());
    assert!(!create.wait().unwrap().success());
    assert!(!container.exists());
    nothing_is_kept();
}

/// A delegate works for a `create` that goes on, and is no orphan.
#[test]
fn vm_delete_ends_no_delegate_of_a_create_that_goes_on() {
    only_in_lab();
    let _config = small_bases();
    for engine in ["crun", "runc"] {
        let (runtime, image) = (Runtime::with_engine(engine), Image::new());
        let (bundle, id) = (image.bundle(&runtime, false, &["sleep", "1000"]), unique_name("c"));
        let mut create = create_with_hook(&runtime, &bundle, &id, 32);
        let said = runtime.cmd(&["delete", &id]).run();
        let goes_on = create.try_wait().unwrap().is_none();
        let created = create.wait().unwrap().success();
        assert!(
            goes_on && created,
            "{engine}: goes on: {goes_on}, created: {created}; delete: {said}"
        );
        assert_ne!(said.status, 0, "{engine}: {said}");
        let container = runtime.container(id);
        assert_eq!(container.status(), "created", "{engine}");
        container.call("start", &[]).ok();
        container.call("delete", &["--force"]).ok();
        nothing_is_kept();
    }
}

/// A foreground `run` deletes its own container at its end, and no other one that has the ID by then.
#[test]
fn vm_run_leaves_a_later_container_of_its_id() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = image.bundle(&runtime, false, &["sleep", "1000"]);
    let other = image.bundle(&runtime, false, &["sleep", "1000"]);
    let id = unique_name("c");
    let container = runtime.container(id.clone());
    let mut run = spawn(&runtime, &["run", "--bundle", bundle.str(), &id]);
    wait_for("it runs", || (container.exists() && container.status() == "running").then_some(()));
    let process = run.id().to_string();
    out(&["kill", "-STOP", &process]);
    container.call("delete", &["--force"]).ok();
    runtime.cmd(&["create", "--bundle", other.str(), &id]).run().ok();
    container.call("start", &[]).ok();
    let (pid, volumes) = (container.pid(), snapshots());
    out(&["kill", "-CONT", &process]);
    assert_eq!(run.wait().unwrap().code(), Some(137), "its own container was killed");
    assert!(container.exists(), "`run` has deleted a later container");
    assert_eq!((container.status().as_str(), container.pid()), ("running", pid));
    assert_eq!((snapshots(), notes()), (volumes, 1));
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    // Its own container is deleted as before.
    let mut run = spawn(&runtime, &["run", "--bundle", bundle.str(), &id]);
    wait_for("it runs", || (container.exists() && container.status() == "running").then_some(()));
    container.call("kill", &["KILL"]).ok();
    assert_eq!(run.wait().unwrap().code(), Some(137));
    assert!(!container.exists());
    nothing_is_kept();
}

/// Which command begins first. The first one waits for a lock when the second one begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Create,
    Delete,
}

#[test]
fn vm_a_container_that_is_made_beside_a_forced_delete_is_whole_or_gone() {
    is_whole_or_gone(First::Create, &["--force"]);
}

#[test]
fn vm_a_container_that_is_made_beside_delete_is_whole_or_gone() {
    is_whole_or_gone(First::Create, &[]);
}

#[test]
fn vm_an_id_that_is_claimed_beside_delete_stays_its_creates() {
    is_whole_or_gone(First::Delete, &["--force"]);
}

/// `delete` waits for the lock of a snapshot, while a `create` claims the ID or waits for the same lock. When that has made its
/// root, `delete` gets the lock of the snapshot and finds no container: the container is made after that.
fn is_whole_or_gone(first: First, flags: &[&str]) {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = image.bundle(&runtime, false, &["sleep", "1000"]);
    // Makes the base and the file of the locks.
    drop(starts(&runtime, &bundle, &unique_name("c")));
    nothing_is_kept();
    let id = unique_name("c");
    let pid_file = format!("{}/{id}.pid", bundle.str());
    let file = |name: &str| Path::new(bundle.str()).join(name);
    let says = |name: &str| Stdio::from(File::create(file(name)).unwrap());
    let begin_create = || {
        let words = ["create", "--bundle", bundle.str(), "--pid-file", &pid_file, &id];
        let create = spawn_with(&runtime, &words, says("create"));
        let claimed = || out(&["find", "/run/sharedroot", "-path", &format!("*/{id}/lock")]);
        wait_for("the ID is claimed", || (!claimed().is_empty()).then_some(()));
        create
    };
    let begin_delete =
        || spawn_with(&runtime, &[&["delete"], flags, &[id.as_str()]].concat(), says("delete"));
    let locks = File::options().write(true).open("/run/sharedroot/snapshots.lock").unwrap();
    rustix::fs::fcntl_lock(&locks, FlockOperation::LockExclusive).unwrap();
    let (mut create, mut delete) = match first {
        First::Create => {
            let create = begin_create();
            let delete = begin_delete();
            // `delete` waits 10 s for the lock of the container, then 10 s for the lock of the snapshot.
            sleep(Duration::from_secs(13));
            (create, delete)
        }
        First::Delete => {
            let delete = begin_delete();
            sleep(Duration::from_secs(2));
            (begin_create(), delete)
        }
    };
    rustix::fs::fcntl_lock(&locks, FlockOperation::Unlock).unwrap();
    let created = create.wait().unwrap().success();
    let deleted = delete.wait().unwrap().success();
    let container = runtime.container(id.clone());
    let said = |name: &str| fs::read_to_string(file(name)).unwrap();
    let what = format!(
        "{flags:?}: created: {created}, {}; deleted: {deleted}, {}",
        said("create"),
        said("delete")
    );
    if deleted {
        assert!(!container.exists(), "{what}");
        assert!(!Path::new(runtime.root()).join(&id).exists(), "{what}");
        let pid = fs::read_to_string(&pid_file).unwrap_or_else(|_| "none".to_owned());
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "{what}: process {pid} is left");
    } else {
        assert!(container.exists(), "{what}");
        assert_eq!(
            (container.status().as_str(), notes(), snapshots().len()),
            ("created", 1, 1),
            "{what}"
        );
        container.call("delete", &["--force"]).ok();
    }
    nothing_is_kept();
}
