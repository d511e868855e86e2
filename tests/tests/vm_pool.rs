//! `sharedroot pool`: each verb in its good case, and what an administrator reads in the bad ones.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;

use sharedroot_tests::command::{Cmd, out, run, unique_name};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::{Replaced, TempDir, wait_for};
use sharedroot_tests::pool::{Device, NoPool, pool, reboot, refused, status};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

const CONFIG: &str = "/etc/sharedroot/config.toml";
const DM: &str = "sharedroot-default";
const METADATA: &str = "/var/lib/sharedroot/default.metadata";

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

fn is_active() -> bool {
    run(&["dmsetup", "status", DM]).status == 0
}

/// A small base, so that a test's metadata is small.
#[track_caller]
fn small_bases() -> Replaced {
    Replaced::with(CONFIG, "[base]\nsize = \"1G\"\n")
}

/// Runs the image once, which must work, on the pool.
#[track_caller]
fn runs(runtime: &Runtime, image: &Image) {
    for readonly in [true, false] {
        let bundle = image.bundle(runtime, readonly, &["sleep", "1000"]);
        let container = runtime.start(&bundle);
        assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
        assert!(root_of(container.pid()).is_on_dm());
    }
}

const KEYS: [&str; 11] = [
    "active",
    "data",
    "data_path",
    "exists",
    "metadata",
    "metadata_path",
    "mode",
    "needs_check",
    "pool",
    "transaction_id",
    "volumes",
];

#[test]
fn vm_status_has_the_same_keys_and_activates_nothing() {
    let no_pool = NoPool::at_first();
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    let none = status();
    assert_eq!((&none["exists"], &none["active"]), (&false.into(), &false.into()));
    has(&pool(&["status"]).ok(), &["not made yet", "pool create"]);

    let made = pool(&["create", "--loop-size", "192M", "--json"]).json();
    assert_eq!(made["data"]["total_bytes"], 192 << 20);
    has(&pool(&["status"]).ok(), &["default (rw)", "192 MiB"]);
    pool(&["deactivate"]).ok();
    let inactive = status();
    assert_eq!((&inactive["exists"], &inactive["active"]), (&true.into(), &false.into()));
    assert_eq!(inactive["metadata_path"], METADATA);
    has(&pool(&["status"]).ok(), &["inactive", METADATA]);
    assert!(!is_active(), "status activates nothing");
    for value in [&none, &made, &inactive] {
        assert_eq!(keys(value), KEYS, "{value}");
    }
    pool(&["destroy", "--force"]).ok();
    no_pool.again();
}

#[test]
fn vm_every_verb_says_that_there_is_no_pool() {
    let no_pool = NoPool::at_first();
    for verb in [
        &["activate"][..],
        &["deactivate"],
        &["grow"],
        &["watch"],
        &["check"],
        &["repair"],
        &["destroy", "--force"],
    ] {
        has(&refused(verb), &["no pool default", "/var/lib/sharedroot", "sharedroot pool create"]);
    }
    no_pool.again();
}

#[test]
fn vm_a_pool_is_made_once_and_destroyed_on_purpose() {
    let no_pool = NoPool::at_first();
    pool(&["create", "--loop-size", "192M"]).ok();
    has(&refused(&["create"]), &["default", "exists already"]);

    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    runs(&runtime, &image);
    let asked = pool(&["destroy"]);
    assert_eq!(asked.status, 1, "{asked}");
    has(&asked.stdout, &["1 (bases of images: 1", "default.data", METADATA]);
    has(&asked.stderr, &["destroy --force"]);
    runs(&runtime, &image);

    let bundle = image.bundle(&runtime, true, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    has(&refused(&["destroy", "--force"]), &[&container.id, "stop and delete"]);
    assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
    drop(container);
    has(&pool(&["destroy", "--force"]).ok(), &["default", "destroyed"]);
    drop((bundle, image, runtime));
    no_pool.again();
}

#[test]
fn vm_a_pool_in_use_is_not_deactivated() {
    let no_pool = NoPool::at_first();
    let _config = small_bases();
    pool(&["create", "--loop-size", "192M"]).ok();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    for readonly in [true, false] {
        let bundle = image.bundle(&runtime, readonly, &["sleep", "1000"]);
        let container = runtime.start(&bundle);
        has(&refused(&["deactivate"]), &["default", &container.id, "docker stop"]);
        assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
        drop(container);
        has(&pool(&["deactivate"]).ok(), &["default", "inactive"]);
        assert!(!is_active());
        assert!(!fs::exists("/sys/block/loop0/loop").unwrap(), "the loop devices are detached");
        // Twice does no harm, and what it says stays true.
        pool(&["deactivate"]).ok();
        has(&pool(&["activate"]).ok(), &["default", "active"]);
        assert!(is_active());
    }
    pool(&["deactivate"]).ok();
    // The next container activates it, and its base is still there. A pool that was deactivated is not checked.
    let bundle = image.bundle(&runtime, true, &["cat", "/etc/unique"]);
    let output = runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("c")]).run();
    assert!(!output.stderr.contains("not deactivated"), "{output}");
    assert_eq!(output.ok(), image.name);
    pool(&["destroy", "--force"]).ok();
    drop((bundle, image, runtime));
    no_pool.again();
}

#[test]
fn vm_devices_are_taken_only_if_nobody_needs_them() {
    let no_pool = NoPool::at_first();
    let (data, metadata) = (Device::new("256M"), Device::new("32M"));
    let create = ["create", "--data-dev", &data.node, "--metadata-dev", &metadata.node];
    let by_force = [&create[..], &["--force"]].concat();
    out(&["mke2fs", "-q", &data.node]);
    has(&refused(&create), &[&data.node, "ext file system", "--force"]);

    let mounted = TempDir::new("mounted");
    out(&["mount", &data.node, mounted.str()]);
    for words in [&create[..], &by_force] {
        has(&refused(words), &[&data.node, "in use", "mounted"]);
    }
    out(&["umount", mounted.str()]);
    out(&["fsck.ext2", "-n", "-f", &data.node]);
    has(&refused(&["create", "--data-dev", CONFIG, "--metadata-dev", &metadata.node]), &[CONFIG]);
    let one = ["create", "--force", "--data-dev", &data.node, "--metadata-dev", &data.node];
    has(&refused(&one), &[&data.node, "two devices"]);

    let made = pool(&[&by_force[..], &["--json"]].concat()).json();
    assert_eq!(made["data_path"], *data.node);
    has(&refused(&["grow", "--data", "1G"]), &["devices", "without sizes"]);
    data.enlarge("512M");
    let grown = pool(&["grow", "--json"]).json();
    assert_eq!(grown["data"]["total_bytes"], 512 << 20);

    // It is found again although the configuration does not name it.
    let _config = small_bases();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    runs(&runtime, &image);
    pool(&["deactivate"]).ok();
    runs(&runtime, &image);
    pool(&["destroy", "--force"]).ok();
    drop((image, runtime, mounted));
    // What was a pool carries no sign of it.
    pool(&create).ok();
    pool(&["destroy", "--force"]).ok();
    drop((data, metadata));
    no_pool.again();
}

#[test]
fn vm_grow_makes_a_loop_pool_larger() {
    let no_pool = NoPool::at_first();
    pool(&["create", "--loop-size", "192M"]).ok();
    let said = refused(&["grow", "--data", "100M"]);
    has(&said, &["192 MiB", "256 MiB", "do not shrink"]);
    has(&refused(&["grow", "--metadata", "1M"]), &["do not shrink"]);
    has(&refused(&["grow", "--data", "100T"]), &["default.data", "100 TiB", "free space"]);
    assert_eq!(status()["data"]["total_bytes"], 192 << 20);

    has(&pool(&["grow"]).ok(), &["288 MiB"]);
    let grown = pool(&["grow", "--data", "320M", "--metadata", "512M", "--json"]).json();
    let total = |part: &str| grown[part]["total_bytes"].as_u64().expect("a size");
    assert_eq!((total("data"), total("metadata")), (320 << 20, 512 << 20));
    // An inactive pool grows too: it is activated.
    pool(&["deactivate"]).ok();
    has(&pool(&["grow", "--data", "384M"]).ok(), &["384 MiB"]);
    assert_eq!(pool(&["grow", "--data", "1X"]).status, 2);
    pool(&["destroy", "--force"]).ok();
    no_pool.again();
}

/// A process that is killed if it does not end.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn vm_watch_grows_the_pool_while_a_container_fills_it() {
    let no_pool = NoPool::at_first();
    let _config = small_bases();
    pool(&["create", "--loop-size", "192M"]).ok();
    let dir = TempDir::new("watch");
    let said = dir.0.join("stderr");
    let mut watch = Background(
        Command::new("sharedroot")
            .args(["--debug", "pool", "watch"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said).expect("create a file"))
            .spawn()
            .expect("start sharedroot"),
    );
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = image.bundle(&runtime, false, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    let fill = "for i in $(busybox seq 40); do
        busybox dd if=/dev/zero of=/tmp/$i bs=1M count=8 2>/dev/null && busybox sync || exit 1; sleep 0.1; done";
    let filled = container.cmd("exec", &[]).args(&["sh", "-c", fill]).run();
    assert_eq!(filled.status, 0, "{filled}{}", status());
    // 320 MiB do not fit into 192; without the watcher only a new volume makes the pool grow.
    let total = status()["data"]["total_bytes"].as_u64().expect("a size");
    assert!(total > 320 << 20, "{total}");
    assert!(watch.0.try_wait().expect("asked").is_none(), "it goes on watching");
    drop(container);
    pool(&["deactivate"]).ok();
    let ended = wait_for("the watcher ends with the pool", || watch.0.try_wait().expect("asked"));
    assert!(ended.success(), "{ended}");
    let said = fs::read_to_string(&said).expect("read a file");
    has(&said, &["the pool runs low and grows", "288 MiB"]);
    eprintln!("{said}");
    pool(&["destroy", "--force"]).ok();
    drop((bundle, image, runtime));
    no_pool.again();
}

/// Of a file that is too large to be read into the guest's memory.
#[track_caller]
fn digest(path: &str) -> String {
    let line = out(&["sha256sum", path]);
    line.split(' ').next().expect("a digest").to_owned()
}

/// Writes over a block of the metadata that thin_check misses and thin_repair can do without.
#[track_caller]
fn damage() {
    let script = format!(
        "cd $(mktemp -d) && thin_dump {METADATA} > whole || exit 1
        for block in $(seq 1 200); do
            cp --sparse=always {METADATA} copy
            head -c 4096 /dev/urandom | dd of=copy bs=4096 seek=$block conv=notrunc 2> /dev/null
            thin_check copy > /dev/null 2>&1 && continue
            truncate -s 256M repaired
            thin_repair -i copy -o repaired > /dev/null 2>&1 && thin_dump repaired > mended || continue
            [ \"$(grep -v '<superblock' whole)\" = \"$(grep -v '<superblock' mended)\" ] || continue
            dd if=copy of={METADATA} bs=4096 skip=$block seek=$block count=1 conv=notrunc 2> /dev/null
            rm -r \"$PWD\"; echo $block; exit 0
        done
        exit 2"
    );
    let block = out(&["bash", "-c", &script]);
    eprintln!("damaged block {block} of the metadata");
}

#[test]
fn vm_damaged_metadata_is_found_and_repaired() {
    let no_pool = NoPool::at_first();
    let _config = small_bases();
    pool(&["create", "--loop-size", "192M"]).ok();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    runs(&runtime, &image);
    has(&pool(&["check"]).ok(), &["default", "sound"]);
    assert_eq!(pool(&["check", "--json"]).json()["sound"], true);
    has(&refused(&["repair"]), &["active", "pool deactivate"]);

    reboot();
    assert_eq!(pool(&["check", "--json"]).json()["sound"], true);
    assert!(!is_active(), "check activates nothing");
    damage();
    let before = digest(METADATA);
    let remedy = ["default", METADATA, "damaged", "sharedroot pool repair", "thin_check"];
    has(&refused(&["check"]), &remedy);
    has(&refused(&["activate"]), &remedy);
    let bundle = image.bundle(&runtime, true, &["cat", "/etc/unique"]);
    let id = unique_name("c");
    let output = runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run();
    assert_ne!(output.status, 0, "{output}");
    has(&output.stderr, &remedy);
    assert!(!is_active());
    assert!(digest(METADATA) == before, "nobody has touched it");

    let repaired = pool(&["repair", "--json"]).json();
    let damaged = repaired["damaged_metadata"].as_str().expect("a path").to_owned();
    assert!(digest(&damaged) == before, "the damaged metadata is kept");
    pool(&["check"]).ok();
    pool(&["activate"]).ok();
    out(&["sharedroot", "gc", "--dry-run"]);
    let output = runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run();
    assert_eq!(output.ok(), image.name);
    runs(&runtime, &image);
    // A second repair finds nothing to mend and keeps what was, under another name.
    pool(&["deactivate"]).ok();
    has(&pool(&["repair"]).ok(), &["damaged-2", "pool activate", "gc --dry-run"]);
    runs(&runtime, &image);
    // One that nobody wants to mend can be given up.
    reboot();
    damage();
    refused(&["check"]);
    pool(&["destroy", "--force"]).ok();
    for n in [1, 2] {
        fs::remove_file(format!("{METADATA}.damaged-{n}")).unwrap();
    }
    drop((bundle, image, runtime));
    no_pool.again();
}

#[test]
fn vm_after_a_reboot_one_of_many_activates_the_pool() {
    const MANY: usize = 8;
    let no_pool = NoPool::at_first();
    let _config = small_bases();
    pool(&["create", "--loop-size", "192M"]).ok();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    runs(&runtime, &image);
    let bundles: Vec<_> =
        (0..MANY).map(|n| image.bundle(&runtime, n % 2 == 0, &["cat", "/etc/unique"])).collect();
    reboot();
    let outputs: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = bundles
            .iter()
            .map(|bundle| {
                let command = runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("many")]);
                scope.spawn(move || command.run())
            })
            .collect();
        started.into_iter().map(|run| run.join().expect("a container's end")).collect()
    });
    for output in &outputs {
        assert_eq!((output.status, output.stdout.trim()), (0, &*image.name), "{output}");
    }
    let checked = outputs.iter().filter(|o| o.stderr.contains("was not deactivated")).count();
    assert_eq!(checked, 1, "one activates, the others wait: {outputs:#?}");
    assert_eq!(out(&["dmsetup", "ls", "--target", "thin-pool"]).lines().count(), 1);
    let loops = out(&["losetup", "--noheadings", "--output", "BACK-FILE"]);
    assert_eq!(loops.lines().filter(|f| f.starts_with("/var/lib/sharedroot/")).count(), 2);
    pool(&["destroy", "--force"]).ok();
    drop((bundles, image, runtime));
    no_pool.again();
}

#[test]
fn vm_a_thin_pool_of_lvm_is_adopted() {
    const GROUP: &str = "sharedroot_test";
    let no_pool = NoPool::at_first();
    let disk = Device::new("512M");
    out(&["pvcreate", "--yes", &disk.node]);
    out(&["vgcreate", GROUP, &disk.node]);
    let name = format!("{GROUP}/pool");
    let make = ["lvcreate", "--type", "thin-pool", "--size", "256M", "--zero", "n"];
    out(&[&make[..], &["--name", "pool", GROUP]].concat());
    let node = format!("/dev/mapper/{GROUP}-pool");
    let lvchange = |flags: &[&str]| out(&[&["lvchange"], flags, &[&*node]].concat());

    has(&refused(&["create", "--lvm", "nothing"]), &["nothing", "VG/LV"]);
    has(&refused(&["create", "--lvm", "no/such"]), &["no-such", "lvchange --activate y"]);
    let text = format!("[pool]\nlvm = \"{name}\"\n[base]\nsize = \"1G\"\n");
    let both = text.replace("[base]", "data_dev = \"/a\"\nmetadata_dev = \"/b\"\n[base]");
    let wrong = Replaced::with(CONFIG, &both);
    has(&refused(&["status"]), &[CONFIG, "either", "data_dev", "lvm"]);
    drop(wrong);
    let _config = Replaced::with(CONFIG, &text);
    // A pool that an administrator names is not made by a container.
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = image.bundle(&runtime, true, &["true"]);
    let refusal = runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("c")]).run();
    has(&refusal.fails(1), &["no pool default", "pool create"]);
    assert!(!pool(&["status"]).ok().contains("first container"));

    let warned = pool(&["create"]);
    has(&warned.stderr, &["lvchange --errorwhenfull y"]);
    pool(&["destroy", "--force"]).ok();
    lvchange(&["--errorwhenfull", "y"]);
    let made = pool(&["create", "--json"]);
    assert!(made.stderr.is_empty(), "{made}");
    assert_eq!(made.json()["data_path"], *node);
    runs(&runtime, &image);
    has(&refused(&["grow"]), &["lvextend", &node]);
    out(&["lvextend", "--size", "+64M", &node]);
    assert_eq!(status()["data"]["total_bytes"], 320 << 20);
    has(&refused(&["repair"]), &["lvconvert --repair", &node]);

    // Off and on again, as around a planned shutdown.
    has(&pool(&["deactivate"]).ok(), &["volumes", "inactive", "lvchange --activate n"]);
    lvchange(&["--activate", "n"]);
    assert_eq!(status()["active"], false);
    let remedy = "lvchange --activate y";
    for verb in [&["activate"][..], &["destroy", "--force"]] {
        has(&refused(verb), &[remedy, &node]);
    }
    lvchange(&["--activate", "y"]);
    runs(&runtime, &image);
    pool(&["check"]).ok();

    pool(&["destroy", "--force"]).ok();
    assert_eq!(out(&["lvs", "--noheadings", "--options", "data_percent", &name]).trim(), "0.00");
    has(&refused(&["create"]), &[&node, "nobody has used"]);
    drop((bundle, image, runtime));
    Cmd::new("vgremove").args(&["--yes", GROUP]).run().ok();
    out(&["pvremove", &disk.node]);
    drop(disk);
    no_pool.again();
}
