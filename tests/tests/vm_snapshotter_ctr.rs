//! containerd with the snapshotter: images are unpacked, run with runc and with sharedroot, and removed, and nothing is left. A
//! snapshotter that is killed between two calls loses nothing. The commands of an administrator know the snapshots.
//!
//! Guest: --with snapshotter --limit 1200 --takes 120 --unstable plain

use std::fs;
use std::path::Path;

use serde_json::Value;
use sharedroot_tests::census::{Census, pools, thin_ids};
use sharedroot_tests::command::{out, run, unique_name};
use sharedroot_tests::doctor::doctor;
use sharedroot_tests::documented;
use sharedroot_tests::lab::{STATE_DIR, TempDir, wait_for};
use sharedroot_tests::pool::{has, reboot};
use sharedroot_tests::shim::ctr;
use sharedroot_tests::snapshotter::{
    Containerd, IMAGE, Snapshotter, Task, collect, import, is_reached, list, snapshots,
};

/// How ctr calls runc and sharedroot.
const RUNTIMES: [&str; 2] = ["/usr/bin/runc", "/usr/local/bin/sharedroot"];
/// All files of the image with their attributes, and the digest of their content.
const TREE: &str = "cd /; tops=$(ls -d bin etc home lib opt root sbin usr var);
    { find $tops -exec stat -c '%n %f %u %g %Y %t %T' {} +; find $tops -type f -exec md5sum {} +; } | sort | md5sum";

/// What a command prints in a container. It prints into a file of the test's, because `ctr run` loses the end of the output of a
/// container now and then, with any runtime and any snapshotter.
#[track_caller]
fn said(snapshotter: &str, runtime: &str, flags: &[&str], command: &str) -> String {
    let (name, dir) = (unique_name("s"), TempDir::new("said"));
    let mount = format!("type=bind,src={},dst=/mnt,options=rbind:rw", dir.str());
    let run = ["run", "--rm", "--snapshotter", snapshotter, "--runc-binary", runtime];
    let command = format!("({command}) > /mnt/said");
    let container = ["--mount", &mount, IMAGE, &name, "sh", "-c", &command];
    ctr(&[&run[..], flags, &container].concat()).ok();
    fs::read_to_string(dir.0.join("said")).expect("read what it said").trim_end().to_owned()
}

/// The thin ids of the pool, and the devices of layers.
fn volumes() -> (usize, Vec<String>) {
    let devices = out(&["dmsetup", "ls"]);
    let layers = devices.lines().filter(|line| line.contains("-layer-")).map(str::to_owned);
    (thin_ids(&pools()[0]).len(), layers.collect())
}

/// Waits until only the empty file system is in the pool.
#[track_caller]
fn nothing_is_left() {
    wait_for("the volumes are deleted", || {
        (list().is_empty() && volumes() == (1, vec![])).then_some(())
    });
}

#[test]
fn vm_an_image_is_unpacked_run_and_removed() {
    let (_snapshotter, _containerd) = (Snapshotter::start(), Containerd::with_snapshotter());
    let mounts = Census::take().of("mount");
    import("overlayfs");
    import("sharedroot");
    let layers = list();
    assert!(layers.len() > 1 && layers.iter().all(|(_, kind)| kind == "Committed"), "{layers:?}");
    wait_for("layers are inactive", || volumes().1.is_empty().then_some(()));

    let theirs = said("overlayfs", RUNTIMES[0], &[], TREE);
    for runtime in RUNTIMES {
        for flags in [&[][..], &["--read-only"]] {
            assert_eq!(said("sharedroot", runtime, flags, TREE), theirs, "{runtime} {flags:?}");
        }
        let root = said(
            "sharedroot",
            runtime,
            &[],
            "head -1 /proc/self/mountinfo; echo x > /new; cat /new",
        );
        assert!(root.contains("- ext4 /dev/dm-") && root.ends_with('x'), "{root}");
        assert!(root.contains(" rw"), "{root}");
        let refused =
            said("sharedroot", runtime, &["--read-only"], "echo x > /new || echo refused");
        assert_eq!(refused, "refused");
    }
    assert_eq!(list(), layers, "containers that are removed leave no snapshot");
    let usage = snapshots(&["usage"]).ok();
    assert!(usage.lines().skip(1).any(|line| line.contains("MiB")), "{usage}");

    ctr(&["image", "rm", "--sync", IMAGE]).ok();
    nothing_is_left();
    assert_eq!(Census::take().of("mount"), mounts);
}

/// Mounts a snapshot as `ctr snapshots mounts` says, does something there, and unmounts it.
#[track_caller]
fn mounted(key: &str, act: impl FnOnce(&Path)) {
    let dir = TempDir::new("mount");
    let command = snapshots(&["mounts", dir.str(), key]).ok();
    out(&["sh", "-c", &command]);
    act(&dir.0);
    out(&["umount", dir.str()]);
}

#[test]
fn vm_a_snapshotter_that_is_killed_goes_on() {
    let mut snapshotter = Snapshotter::start();
    let _containerd = Containerd::with_snapshotter();
    snapshots(&["prepare", "key"]).ok();
    snapshotter.kill_and_start();
    mounted("key", |dir| fs::write(dir.join("one"), "1").expect("write a file"));
    snapshotter.kill_and_start();
    snapshots(&["commit", "name", "key"]).ok();
    snapshotter.kill_and_start();
    assert_eq!(list(), [("name".to_owned(), "Committed".to_owned())]);

    snapshots(&["prepare", "next", "name"]).ok();
    snapshots(&["view", "view", "name"]).ok();
    snapshotter.kill_and_start();
    mounted("next", |dir| {
        assert_eq!(fs::read_to_string(dir.join("one")).expect("read a file"), "1");
        fs::write(dir.join("two"), "2").expect("write a file");
    });
    mounted("view", |dir| {
        assert_eq!(fs::read_to_string(dir.join("one")).expect("read a file"), "1");
        assert!(!dir.join("two").exists());
        let refused = fs::write(dir.join("three"), "3").expect_err("a view is read-only");
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    });
    assert!(snapshots(&["rm", "name"]).stderr.contains("remove"), "it has children");
    for key in ["view", "next", "name"] {
        snapshots(&["rm", key]).ok();
        collect();
        snapshotter.kill_and_start();
    }
    nothing_is_left();
}

const MIB: u64 = 1 << 20;

/// What the kernel gives out as random, so that nothing makes it smaller.
fn write(file: &Path, mib: usize) {
    let count = format!("count={mib}");
    let to = format!("of={}", file.display());
    out(&["dd", "if=/dev/urandom", &to, "bs=1M", &count, "conv=fsync", "status=none"]);
}

/// An active snapshot with a file of 4 MiB.
#[track_caller]
fn written(key: &str) {
    snapshots(&["prepare", key]).ok();
    mounted(key, |dir| write(&dir.join("file"), 4));
}

/// What containerd says that a snapshot takes.
#[track_caller]
fn usage(key: &str) -> String {
    let said = snapshots(&["usage", "-b", key]).ok();
    let line = said.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{said}"));
    line.split_whitespace().nth(1).expect("a size").to_owned()
}

/// `status`, `top` and `metrics` count the snapshots.
#[track_caller]
fn are_counted(layers: usize, active: u64) {
    // The kernel commits what is mapped within a second.
    let status = wait_for("the blocks of the active snapshot are counted", || {
        let status = documented::json("status", &[])["snapshotter"].clone();
        (status["active_bytes"].as_u64()? >= active * 4 * MIB).then_some(status)
    });
    let number = |key: &str| status[key].as_u64().unwrap_or_else(|| panic!("{key}: {status}"));
    assert_eq!((number("layers"), number("active"), number("views")), (layers as u64, active, 1));
    assert!((50 * MIB..200 * MIB).contains(&number("layer_bytes")), "{status}");
    assert!(number("active_bytes") < (active * 4 + 3) * MIB, "{status}");
    let top = documented::json("top", &[])["snapshots"].clone();
    let keys = ["layers", "active", "views", "layer_bytes"];
    keys.iter().for_each(|key| assert_eq!(top[*key], status[*key], "{key}"));
    let metrics = out(&["sharedroot", "metrics"]);
    let line = format!("sharedroot_snapshots{{kind=\"layer\"}} {layers}\n");
    let bytes = format!("sharedroot_snapshot_bytes{{kind=\"layer\"}} {}\n", status["layer_bytes"]);
    has(&metrics, &[&line, &bytes, "sharedroot_snapshots{kind=\"view\"} 1\n"]);
    has(&out(&["sharedroot", "status"]), &[&format!("snapshots {layers} layers with ")]);
}

/// The base that a read-only container of ctr's has is called as its snapshot.
#[track_caller]
fn base_has_a_name() {
    let _task = Task::run("sharedroot", &["--runc-binary", RUNTIMES[1], "--read-only"]);
    let images = documented::images();
    let base = images.iter().find(|image| image["snapshot"].is_string());
    let base = base.unwrap_or_else(|| panic!("no base of a snapshot: {images:?}"));
    let snapshot = base["snapshot"].as_str().expect("text");
    let chain = snapshot.rsplit('/').next().expect("a name");
    assert!(list().iter().any(|(name, _)| name == chain), "{snapshot}");
    assert_eq!(base["shared_by"].as_array().map(Vec::len), Some(1), "{base}");
    has(&out(&["sharedroot", "image", "list"]), &[&chain[.."sha256:".len() + 12]]);
    let key = base["key"].as_str().expect("a key");
    let inspected =
        documented::check("image inspect", run(&["sharedroot", "image", "inspect", key]));
    assert_eq!(inspected["chain_id"], chain, "{inspected}");
    assert!(inspected["used_bytes"].as_u64().is_some_and(|used| used > 10 * MIB), "{inspected}");
}

/// What `gc` says of volumes of the snapshotter: what became of them, their names and the reasons.
#[track_caller]
fn gc(words: &[&str]) -> Vec<(String, String, String)> {
    let said = documented::json("gc", words);
    let text = |item: &Value, key: &str| item[key].as_str().expect("text").to_owned();
    let items = said["items"].as_array().expect("a list").iter();
    let layers = items.filter(|item| item["kind"] == "layer");
    layers.map(|item| (text(item, "done"), text(item, "name"), text(item, "why"))).collect()
}

/// The line of `doctor` about leftovers.
#[track_caller]
fn leftovers() -> String {
    let said = doctor(&[]).stdout;
    let line = said.lines().find(|line| line.contains(" leftovers "));
    line.unwrap_or_else(|| panic!("{said}")).to_owned()
}

/// The files of the snapshotter's table, put aside and back while the snapshotter does not run.
struct Aside(TempDir);

impl Aside {
    fn copy() -> Self {
        let aside = Self(TempDir::new("table"));
        out(&["sh", "-c", &format!("cp -a {STATE_DIR}/snapshots.db* {}/", aside.0.str())]);
        aside
    }

    fn remove() {
        out(&["sh", "-c", &format!("rm -f {STATE_DIR}/snapshots.db*")]);
    }

    fn back(&self) {
        Self::remove();
        out(&["sh", "-c", &format!("cp -a {}/* {STATE_DIR}/", self.0.str())]);
    }
}

/// An older table comes back from a backup: the volumes of two rows are nobody's, and one of them is mounted.
#[track_caller]
fn an_older_table_comes_back() {
    let old = Aside::copy();
    let dir = TempDir::new("mount");
    {
        let _snapshotter = Snapshotter::start();
        is_reached();
        written("later");
        snapshots(&["prepare", "held"]).ok();
        out(&["sh", "-c", &snapshots(&["mounts", dir.str(), "held"]).ok()]);
    }
    old.back();
    let said = gc(&["--dry-run"]);
    let words: Vec<_> = said.iter().map(|(done, _, why)| format!("{done}: {why}")).collect();
    let held = "kept: it is in use, and the next `gc` tries again";
    assert_eq!(words, ["deleted: its snapshot was removed", held], "{said:?}");
    let line = leftovers();
    assert!(line.starts_with("warning"), "{line}");
    assert!(line.contains("2 volumes of removed snapshots"), "{line}");
    assert_eq!(gc(&[]), said, "as the dry run said");
    out(&["umount", dir.str()]);
    assert_eq!(gc(&[]).len(), 1);
    assert_eq!(gc(&[]), []);
}

/// The table is lost: its volumes stay, because a backup of it may exist.
#[track_caller]
fn the_table_is_lost_and_found(layers: usize) {
    let table = Aside::copy();
    Aside::remove();
    let said = gc(&[]);
    assert!(said.len() > layers, "{said:?}");
    let stay =
        |(done, _, why): &(String, String, String)| done == "kept" && why.contains("gc --force");
    assert!(said.iter().all(stay), "{said:?}");
    let line = leftovers();
    assert!(line.contains(&format!("{} volumes of a table", said.len())), "{line}");
    table.back();
    assert_eq!(gc(&[]), [], "it has come back");
}

/// The volumes are given up, and the rows that had them are told.
#[track_caller]
fn the_volumes_are_lost(layers: usize) {
    let table = Aside::copy();
    Aside::remove();
    assert!(gc(&["--force"]).iter().all(|(done, ..)| done == "deleted"));
    assert_eq!(volumes(), (1, vec![]));
    table.back();
    let said = gc(&[]);
    assert_eq!(said.len(), layers, "{said:?}");
    let told = |(done, _, why): &(String, String, String)| {
        done == "kept" && why.contains("pull the image again")
    };
    assert!(said.iter().all(told), "{said:?}");
    let line = leftovers();
    assert!(line.starts_with("problem"), "{line}");
    assert!(line.contains(&format!("{layers} snapshots of images")), "{line}");
}

#[test]
fn vm_the_commands_of_an_administrator_know_snapshots() {
    let snapshotter = Snapshotter::start();
    let _containerd = Containerd::with_snapshotter();
    import("sharedroot");
    let all = list();
    let layers = all.len();
    written("kept");
    snapshots(&["view", "view", &all[0].0]).ok();
    are_counted(layers, 1);
    base_has_a_name();
    let taken: u64 = usage("kept").parse().expect("a number");
    assert!((4 * MIB..12 * MIB).contains(&taken), "{taken}, with the empty file system");
    assert_eq!(gc(&[]), [], "each volume has its snapshot");
    drop(snapshotter);
    an_older_table_comes_back();
    the_table_is_lost_and_found(layers);

    // What a snapshot takes is known after a boot, before anybody has used it.
    reboot();
    let snapshotter = Snapshotter::start();
    is_reached();
    assert_eq!(usage("kept").parse::<u64>().expect("a number"), taken);
    assert!(!out(&["dmsetup", "ls"]).contains("-layer-"), "to ask activates nothing");
    drop(snapshotter);

    the_volumes_are_lost(layers);
    let _snapshotter = Snapshotter::start();
    is_reached();
    ctr(&["image", "rm", "--sync", IMAGE]).ok();
    snapshots(&["rm", "kept"]).ok();
    collect();
    nothing_is_left();
}
