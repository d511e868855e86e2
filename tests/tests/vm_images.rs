//! `image import` of what real Docker saves: the base is the tree that overlay shows, of every image of the lab, and a
//! container of the image finds it made.
//!
//! Guest: --limit 1500 --takes 120 --shim long

use std::fs::{self, File, Metadata};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sharedroot_tests::census::{pools, thin_ids};
use sharedroot_tests::command::{Cmd, Output};
use sharedroot_tests::docker::{Container, FreshImage, docker};
use sharedroot_tests::documented::images;
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::{TempDir, only_in_lab, wait_for};
use sharedroot_tests::layout::Layout;
use sharedroot_tests::tree::{OverlayView, differences, list, seconds, without_daemons};

/// The blocks of nginx are compared in `vm_images_equal`, and redis is as nginx is: a layer of its own on debian.
const IMAGES: [&str; 5] = ["pause", "busybox", "debian", "python", "awkward"];

fn image(words: &[&str]) -> Output {
    only_in_lab();
    Cmd::new("sharedroot").arg("image").args(words).limit(Duration::from_secs(600)).run()
}

/// `docker save`, in a directory of its own.
fn saved(name: &str) -> (TempDir, String) {
    let dir = TempDir::new("saved");
    let tar = format!("{}/image.tar", dir.str());
    // Zeros are data for Docker.
    let save = Cmd::new("docker").args(&["save", "--output", &tar, name]);
    save.limit(Duration::from_secs(600)).run().ok();
    (dir, tar)
}

/// The line of `image list --json` about a base.
fn listed(key: &str) -> Option<Value> {
    images().into_iter().find(|base| base["key"] == key)
}

fn without_a_trace() {
    assert!(!Path::new("/var/lib/sharedroot/imports").exists(), "unpacked layers are left");
    let making = fs::read_dir("/run/sharedroot/making").map_or(0, Iterator::count);
    assert_eq!(making, 0, "scratch is left");
}

/// The lab digs the holes of the only file of 256 MiB again after Docker has stored it, which changes its time.
fn time(stat: &Metadata) -> String {
    if stat.len() == 1 << 28 { "dug".to_owned() } else { seconds(stat) }
}

#[test]
fn vm_an_image_is_what_overlay_shows() {
    for name in IMAGES {
        let (dir, tar) = saved(name);
        let key = image(&["import", &tar, &format!("lab/{name}")]).ok();
        without_a_trace();
        drop(dir);
        let base = listed(&key).expect("the base is listed");
        assert_eq!(
            (&base["ready"], &base["names"][0]),
            (&true.into(), &format!("lab/{name}").into())
        );

        // Docker's container of the image is made on this base, and on no other.
        let ids = thin_ids(&pools()[0]);
        let words: &[&str] = if name == "pause" { &["pause"] } else { &[name, "sleep", "1000"] };
        let container = Container::run(&[&["--read-only"], words].concat());
        assert!(root_of(container.pid()).is_on_dm());
        assert_eq!(thin_ids(&pools()[0]), ids, "{name}: the container made a base of its own");
        let base = listed(&key).expect("the base is listed");
        assert_eq!(base["shared_by"][0], container.id.as_str(), "{name}");

        // Mounted, it is file by file what Docker's own containers see.
        let view = OverlayView::of(name);
        let expected = list(&view.top(), time, &[]);
        let found = list(Path::new(base["mount_point"].as_str().expect("a path")), time, &[]);
        assert!(expected.len() > 1 || name == "pause", "{name}: {} files", expected.len());
        let [ours, overlays] = [&found, &expected].map(|l| without_daemons(l.clone(), &expected));
        assert_eq!(differences(&ours, &overlays), "", "{name}");
        println!("{name}: {} files are the same", found.len());
    }
    shows_its_progress();
}

/// Whoever writes an archive chooses which diff IDs it names. A container of the image with these does not wait for the layers of
/// the archive, which take minutes and are wrong.
#[test]
fn vm_an_import_holds_up_no_container_of_the_image_that_it_names() {
    let fresh = FreshImage::new();
    let named = docker(&["inspect", "--format", "{{json .RootFS}}", fresh.name()]).json();
    let (layout, unpacked) = (endless(&named["Layers"]), Path::new("/var/lib/sharedroot/imports"));
    let mut import = Command::new("sharedroot")
        .args(["image", "import", layout.str()])
        .stdout(Stdio::null())
        .spawn()
        .expect("start an import");
    wait_for("it unpacks", || unpacked.exists().then_some(()));
    let container = Container::run(&["--read-only", fresh.name(), "sleep", "1000"]);
    assert!(import.try_wait().expect("look at it").is_none(), "the container waited for its end");
    assert!(root_of(container.pid()).is_on_dm());
    let key = container.record()["rootfs"]["base"].as_str().expect("a key").to_owned();
    let second = Cmd::new("sharedroot").args(&["image", "import", layout.str()]).run();
    assert_eq!(second.stdout.trim(), key, "the archive names this base: {second}");
    import.kill().expect("kill it");
    import.wait().expect("wait for it");
    Cmd::new("sharedroot").arg("gc").run().ok();
    without_a_trace();
}

/// A layout that names these diff IDs. Each of its layers is an empty tar with gigabytes of zeros behind it.
fn endless(diff_ids: &Value) -> Layout {
    const BYTES: u64 = 30 << 30;
    let layout = Layout::plain(&[]);
    let count = diff_ids.as_array().expect("a list").len() as u64;
    let digest = format!("sha256:{}", "ab".repeat(32));
    let blob = layout.path(&format!("blobs/sha256/{}", "ab".repeat(32)));
    File::create(blob).and_then(|blob| blob.set_len(BYTES / count)).expect("make a layer");
    let layer = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": BYTES / count});
    let config = json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = config.to_string();
    let config = layout.blob(config.as_bytes(), "application/vnd.oci.image.config.v1+json");
    layout.manifest(&config, &vec![layer; count.try_into().expect("few layers")]);
    layout
}

/// On a terminal work of more than a second has a line that is drawn again, and gone at the end: this image has a gigabyte.
#[track_caller]
fn shows_its_progress() {
    // It shows progress when it takes longer than a second.
    let slow = "sharedroot image verify lab/awkward & sleep 0.2; kill -STOP $!; sleep 1.5; kill -CONT $!; wait $!";
    let words = ["-qec", slow, "/dev/null"];
    let verify =
        Cmd::new("script").args(&words).env("TERM", "xterm").limit(Duration::from_secs(300));
    let seen = verify.run().ok();
    assert!(seen.contains("reading ["), "{seen:?}");
    let last = seen.rsplit(['\r', '\n']).find(|line| !line.is_empty()).expect("a line");
    assert!(last.contains("every file is as in the source of the base"), "{seen:?}");
    let piped = Cmd::new("sharedroot").args(&["image", "verify", "lab/pause"]).run();
    assert!(piped.status == 0 && !piped.stderr.contains("reading"), "{piped}");
}
