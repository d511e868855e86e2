//! What Docker's user reads when sharedroot cannot do it, and that nothing is left behind.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200 --shim long

use std::fs;

use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Cmd, out};
use sharedroot_tests::daemon::{self, Wrapper};
use sharedroot_tests::docker::{Container, FreshImage, docker_run};
use sharedroot_tests::lab::{Replaced, STATE_DIR};

/// Docker's directories, which appear with the first container, and the pool.
#[track_caller]
fn warm_up() {
    docker_run("sharedroot", &["--read-only", "busybox", "true"]).ok();
    docker_run("sharedroot", &["busybox", "true"]).ok();
    daemon::warm_up();
}

/// `docker run`'s message, one line of it from the runtime.
#[track_caller]
fn refused(runtime: &str, words: &[&str]) -> String {
    let output = docker_run(runtime, words);
    // Docker reads error numbers out of the text: 127 where it says that a file is missing. It must not come to
    // 126, "permission denied", by a phrase such as "is a directory".
    assert!(matches!(output.status, 125 | 127), "{output}");
    assert!(!output.stderr.contains("permission denied"), "{output}");
    output.stderr
}

#[test]
fn vm_a_damaged_bundle() {
    warm_up();
    let wrapper = Wrapper::new(
        r#"head -c 100 "$bundle/config.json" > "$bundle/x" && mv "$bundle/x" "$bundle/config.json""#,
    );
    let before = Census::take();
    for flags in [&["--read-only"][..], &[]] {
        let said = refused(&wrapper.name, &[flags, &["busybox", "true"]].concat());
        assert!(said.contains("config.json"), "{said}");
        before.nothing_left();
    }
}

#[test]
fn vm_a_bundle_without_configuration() {
    warm_up();
    let wrapper = Wrapper::new(r#"rm "$bundle/config.json""#);
    let before = Census::take();
    let said = refused(&wrapper.name, &["--read-only", "busybox", "true"]);
    assert!(said.contains("config.json"), "{said}");
    before.nothing_left();
}

#[test]
fn vm_a_missing_layer() {
    warm_up();
    let image = FreshImage::new();
    // The first container of the image would make its base from the layer.
    let layer = image.layer_dir();
    let (layer, away) = (layer.to_str().unwrap(), format!("{}-away", layer.display()));
    let wrapper = Wrapper::new(&format!("[ ! -d {layer} ] || mv {layer} {away}"));
    let before = Census::take();
    for flags in [&["--read-only"][..], &[]] {
        let said = refused(&wrapper.name, &[flags, &[image.name(), "true"]].concat());
        fs::rename(&away, layer).unwrap();
        assert!(said.contains(layer) && said.contains("docker rmi"), "{said}");
        before.nothing_left();
    }
    drop(wrapper);
    docker_run("sharedroot", &["--read-only", image.name(), "true"]).ok();
    docker_run("sharedroot", &[image.name(), "true"]).ok();
}

/// The two last by their names: they take the pool down and make a small one.
#[test]
fn vm_y_a_journal_that_a_full_pool_cannot_replay() {
    warm_up();
    let image = FreshImage::new();
    let _small = Small::new();
    let _still = Replaced::with("/proc/sys/vm/dirty_writeback_centisecs", "0");
    let full = Container::run(&[image.name(), "sleep", "1000"]);
    full.exec(&["sh", "-c", "echo kept > /kept && sync"]);
    // Directories at the top go to as many groups, whose tables and maps have no blocks of the pool yet. The journal has
    // them, and nobody writes them to their places before the pool is full.
    let spread = "i=0; while [ $i -lt 64 ]; do mkdir /spread-$i && i=$((i+1)); done; dd if=/kept of=/last conv=fsync";
    full.exec(&["sh", "-c", spread]);
    let filler = Container::run(&[image.name(), "sleep", "1000"]);
    fill(&filler);

    // Its changes wait, and the engine can remove any container.
    full.stop();
    let said = full.call("start", &[]).stderr;
    assert!(said.contains("full") && said.contains("sharedroot pool grow"), "{said}");
    drop(filler);
    full.call("start", &[]).ok();
    assert_eq!(
        full.exec(&["sh", "-c", "cat /kept /last; ls -d /spread-* | wc -l"]),
        "kept\nkept\n64"
    );
    drop(full);
    assert!(used_percent() < 10, "the pool is {} % full", used_percent());
}

#[test]
fn vm_z_full_pool() {
    warm_up();
    let (first, second) = (FreshImage::new(), FreshImage::with("/etc/more", "more"));
    let _small = Small::new();

    // 90 % is the limit for another volume; the file system of the snapshot holds 10G, the pool 192M.
    let filler = Container::run(&[first.name(), "sleep", "1000"]);
    let base = Container::run(&["--read-only", first.name(), "sleep", "1000"]);
    fill(&filler);
    assert!(used_percent() >= 90, "the pool is {} % full", used_percent());
    let before = Census::take();

    let said = refused("sharedroot", &["--read-only", second.name(), "true"]);
    for word in ["default", "full", "192", "90", "sharedroot pool grow"] {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    let said = refused("sharedroot", &[first.name(), "true"]);
    assert!(said.contains("full"), "{said}");
    before.nothing_left();
    // What needs no new volume goes on.
    assert_eq!(base.exec(&["cat", "/etc/unique"]), first.name());
    docker_run("sharedroot", &["--read-only", first.name(), "true"]).ok();

    drop(filler);
    docker_run("sharedroot", &["--read-only", second.name(), "true"]).ok();
    docker_run("sharedroot", &[second.name(), "sh", "-c", "echo x > /tmp/x && sync"]).ok();
}

/// Writes until the pool takes no more. Past the page cache, which takes gigabytes that are lost.
#[track_caller]
fn fill(container: &Container) {
    container.call("exec", &["sh", "-c", "dd if=/dev/zero of=/full bs=1M oflag=direct"]);
}

/// A pool of 192M in the place of the other, until it is dropped. On devices: a loop file would grow.
struct Small {
    _config: Replaced,
}

impl Small {
    #[track_caller]
    fn new() -> Self {
        destroy_pool();
        let [data, metadata] = [("data", "192M"), ("metadata", "8M")].map(|(name, size)| {
            let file = format!("/var/lib/lab-small-{name}");
            out(&["rm", "-f", &file]);
            out(&["truncate", "-s", size, &file]);
            out(&["losetup", "--find", "--show", &file]).trim().to_owned()
        });
        let text = format!("[pool]\ndata_dev = \"{data}\"\nmetadata_dev = \"{metadata}\"\n");
        let config = Replaced::with("/etc/sharedroot/config.toml", &text);
        out(&["sharedroot", "pool", "create", "--data-dev", &data, "--metadata-dev", &metadata]);
        Self { _config: config }
    }
}

/// By hand, because this program's own command is not what is tested here.
#[track_caller]
fn destroy_pool() {
    out(&["sh", "-c", "for m in /run/sharedroot/base/*; do umount $m && rmdir $m; done"]);
    out(&["sh", "-c", "dmsetup ls --target thin | while read n rest; do dmsetup remove $n; done"]);
    out(&[
        "sh",
        "-c",
        "dmsetup ls --target thin-pool | while read n rest; do dmsetup remove $n; done",
    ]);
    out(&["sh", "-c", "losetup -D; rm -rf /var/lib/sharedroot/* /run/sharedroot/*"]);
    assert!(fs::read_dir(STATE_DIR).unwrap().next().is_none());
}

/// The kernel's figures: `0 SECTORS thin-pool TRANSACTION USED/TOTAL USED/TOTAL ...`
#[track_caller]
fn used_percent() -> u64 {
    let status = Cmd::new("dmsetup").args(&["status", "sharedroot-default"]).run().ok();
    let data = status.split_whitespace().nth(5).expect("the data blocks");
    let (used, total) = data.split_once('/').expect("used/total");
    100 * used.parse::<u64>().unwrap() / total.parse::<u64>().unwrap()
}
