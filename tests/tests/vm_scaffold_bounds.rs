//! Mount points that the image of a read-only container lacks: how many are put above a base that others use, too, and that nobody
//! else waits while they are made. Ours alone: no other runtime has scaffolds.
//!
//! Guest: --no-docker

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use sharedroot_tests::attack::bind;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::docker::record;
use sharedroot_tests::lab::{TempDir, only_in_lab, wait_for};
use sharedroot_tests::pool::small_bases;
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::{Image, Stacked};

/// A bundle of a read-only container with a volume at each of these paths.
fn read_only(runtime: &Runtime, image: &Image, volume: &TempDir, paths: &[String]) -> Stacked {
    let bundle = image.bundle(runtime, true, &["sleep", "1000"]);
    bundle.edit(|config| paths.iter().for_each(|path| bind(config, volume.str(), path)));
    bundle
}

fn volume() -> TempDir {
    let volume = TempDir::new("volume");
    fs::write(volume.0.join("inside"), "in the volume").unwrap();
    volume
}

/// 4,096 directories and files are the most. A container with more runs on the engine's rootfs, as with runc.
#[test]
fn vm_many_mount_points_are_not_put_above_a_base() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image, volume) = (Runtime::sharedroot(), Image::new(), volume());
    let deep = |n| format!("/a{n}{}", "/d".repeat(1023));
    for (number, kind) in [(4, "shared"), (5, "not_shared")] {
        let paths: Vec<_> = (0..number).map(deep).collect();
        let bundle = read_only(&runtime, &image, &volume, &paths);
        let container = runtime.start(&bundle);
        let rootfs = record(&container.id)["rootfs"].clone();
        assert_eq!(rootfs["kind"], kind, "{rootfs}");
        if kind == "not_shared" {
            let why = rootfs["why"].as_str().expect("a reason");
            assert!(why.contains("5120 directories and files"), "{why}");
        }
        let inside = format!("{}/inside", paths[number - 1]);
        assert_eq!(container.exec(&[], &["cat", &inside]).ok(), "in the volume");
        container.call("delete", &["--force"]).ok();
    }
}

/// A configuration with more mounts than a container can need is refused at once.
#[test]
fn vm_a_configuration_has_a_bound_of_mounts() {
    only_in_lab();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = image.bundle(&runtime, true, &["true"]);
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.extend((0..200_000).map(|n| json!({"destination": format!("/a{n}")})));
    });
    let began = Instant::now();
    let refused = runtime.cmd(&["create", "--bundle", bundle.str(), &unique_name("c")]).run();
    assert_ne!(refused.status, 0, "{refused}");
    assert!(refused.stderr.contains("are more than 10000"), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// `create` of a container whose mount points take long: each directory takes a tenth of a second. Waits until it makes them. The
/// tracer goes on when `create` has ended and `created` is there, because it traces the container's process, too.
fn slow_create(runtime: &Runtime, bundle: &Stacked, id: &str, created: &Path) -> Child {
    let trace = format!("{}/trace", bundle.str());
    let words = ["-f", "-qq", "-I2", "-o", &trace, "-e", "trace=mkdir,mkdirat", "-e"];
    let child = Command::new("strace")
        .args(words)
        .arg("inject=mkdir,mkdirat:delay_exit=100000")
        .args(["sh", "-c", "\"$@\" && touch \"$0\""])
        .arg(created)
        .arg(runtime.program())
        .args(["--root", runtime.root(), "create", "--bundle", bundle.str(), id])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("start strace");
    wait_for("it makes its mount points", || {
        let calls = fs::read_to_string(&trace).unwrap_or_default();
        (calls.matches("/d/d/d").count() > 3).then_some(())
    });
    child
}

/// Another container of the image needs a scaffold, too. The first container's scaffold is its own if something is in its upper
/// directory.
#[test]
fn vm_nobody_waits_for_the_mount_points_of_others() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, image, volume) = (Runtime::sharedroot(), Image::new(), volume());
    // Makes the base.
    let bundle = read_only(&runtime, &image, &volume, &["/b".to_owned()]);
    drop(runtime.start(&bundle));
    for upper in ["empty", "not empty"] {
        let slow = read_only(&runtime, &image, &volume, &[format!("/a{}", "/d".repeat(150))]);
        if upper == "not empty" {
            fs::write(Path::new(&slow.rootfs).join("etc/own"), "own").unwrap();
        }
        let id = unique_name("slow");
        let created = Path::new(slow.str()).join("created");
        let mut tracer = slow_create(&runtime, &slow, &id, &created);
        let began = Instant::now();
        let container = runtime.create(&bundle);
        container.call("delete", &["--force"]).ok();
        let took = began.elapsed();
        let goes_on = !created.exists();
        wait_for("it is created", || created.exists().then_some(()));
        out(&["kill", "-TERM", &tracer.id().to_string()]);
        tracer.wait().unwrap();
        let slow_one = runtime.container(id);
        slow_one.becomes("created");
        assert_eq!(record(&slow_one.id)["rootfs"]["kind"], "shared", "{upper}");
        slow_one.call("start", &[]).ok();
        slow_one.call("delete", &["--force"]).ok();
        assert!(goes_on && took < Duration::from_secs(10), "{upper}: {took:?}, {goes_on}");
    }
}
