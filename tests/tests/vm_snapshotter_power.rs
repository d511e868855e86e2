//! A power cut after a commit, before the files of the snapshot were on the disk: what can be mended is mended, and what is not
//! whole is refused by name.
//!
//! Guest: --with snapshotter --limit 600 --takes 60

use std::fs::{self, File};
use std::path::Path;

use sharedroot_tests::command::{out, run, unique_name};
use sharedroot_tests::lab::{Replaced, STATE_DIR, TempDir, wait_for};
use sharedroot_tests::pool::{CONFIG, Device, NoPool, has, pool, reboot};
use sharedroot_tests::snapshotter::{Containerd, SOCKET, Snapshotter, collect, list, snapshots};

/// A device that can lose its writes from one moment on, as a disk's cache does when the power fails.
struct Disk {
    name: String,
    below: Device,
    sectors: u64,
}

impl Disk {
    fn new(size: &str) -> Self {
        let below = Device::new(size);
        let sectors = out(&["blockdev", "--getsz", &below.node]).parse().expect("a size");
        let disk = Self { name: unique_name("disk"), below, sectors };
        out(&["dmsetup", "create", &disk.name, "--table", &disk.keeps()]);
        disk
    }

    fn node(&self) -> String {
        format!("/dev/mapper/{}", self.name)
    }

    fn keeps(&self) -> String {
        format!("0 {} linear {} 0", self.sectors, self.below.node)
    }

    fn use_table(&self, table: &str) {
        out(&["dmsetup", "load", &self.name, "--table", table]);
        out(&["dmsetup", "suspend", "--nolockfs", "--noflush", &self.name]);
        out(&["dmsetup", "resume", &self.name]);
    }

    fn lose(&self) {
        let (sectors, below) = (self.sectors, &self.below.node);
        self.use_table(&format!("0 {sectors} flakey {below} 0 0 3600 1 drop_writes"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let removed = run(&["dmsetup", "remove", "--retry", &self.name]);
        if removed.status != 0 {
            eprintln!("{removed}");
        }
    }
}

/// A pool on such disks.
struct OnDisks {
    snapshotter: Option<Snapshotter>,
    _config: Replaced,
    disks: [Disk; 2],
}

impl OnDisks {
    fn new() -> Self {
        let disks = ["1G", "64M"].map(Disk::new);
        let [data, metadata] = disks.each_ref().map(Disk::node);
        let text = format!(
            "[base]\nsize = \"1G\"\n[pool]\ndata_dev = \"{data}\"\nmetadata_dev = \"{metadata}\"\n"
        );
        let config = Replaced::with(CONFIG, &text);
        pool(&["create"]).ok();
        Self { snapshotter: Some(Snapshotter::start()), _config: config, disks }
    }

    /// The power fails, and comes back. The table of the snapshots is on another disk, which loses nothing.
    fn power_cut(&mut self, mounted: &Path) {
        self.snapshotter = None;
        out(&["umount", mounted.to_str().expect("text")]);
        reboot();
        for disk in &self.disks {
            out(&["dmsetup", "remove", "--retry", &disk.name]);
            out(&["dmsetup", "create", &disk.name, "--table", &disk.keeps()]);
        }
        self.snapshotter = Some(Snapshotter::start());
    }

    /// Removes the pool, and the table of the snapshots.
    fn end(mut self) {
        self.snapshotter = None;
        pool(&["destroy", "--force"]).ok();
        let state = ["snapshots.db", "snapshots.lock"].map(|name| format!("{STATE_DIR}/{name}"));
        for file in [SOCKET.to_owned()].iter().chain(&state) {
            fs::remove_file(file).expect("remove a file");
        }
    }

    fn lose(&self) {
        self.disks.iter().for_each(Disk::lose);
    }
}

/// Mounts the snapshot as the client does.
#[track_caller]
fn mounts(key: &str) -> TempDir {
    let dir = TempDir::new("mount");
    out(&["sh", "-c", &snapshots(&["mounts", dir.str(), key]).ok()]);
    dir
}

/// Writes files, each of which is on the disk when this function returns. What ext4 writes later is not.
#[track_caller]
fn write_files(dir: &Path) {
    let dir = dir.join("dir");
    fs::create_dir(&dir).expect("a directory");
    for number in 0..40 {
        let path = dir.join(number.to_string());
        fs::write(&path, vec![b'x'; 10_000 + number]).expect("a file");
        File::open(&path).and_then(|file| file.sync_all()).expect("on the disk");
    }
}

/// A snapshot with files is committed, and the power goes before it is flushed.
#[track_caller]
fn commit_and_cut(disks: &mut OnDisks, name: &str, key: &str) {
    snapshots(&["prepare", key]).ok();
    let dir = mounts(key);
    write_files(&dir.0);
    disks.lose();
    snapshots(&["commit", name, key]).ok();
    disks.power_cut(&dir.0);
}

/// The devices of layers, without those that have no table.
fn active_layers() -> Vec<String> {
    let devices = out(&["dmsetup", "ls"]);
    let names = devices.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.contains("-layer-")).map(str::to_owned).collect()
}

#[test]
fn vm_a_layer_that_a_power_cut_has_cut_short_is_refused() {
    let none = NoPool::at_first();
    let mut disks = OnDisks::new();
    let containerd = Containerd::with_snapshotter();
    // An image is unpacked without a journal.
    commit_and_cut(&mut disks, "layer", "extract-1");

    assert_eq!(list(), [("layer".to_owned(), "Committed".to_owned())]);
    for words in
        [["view", "v", "layer"], ["prepare", "p", "layer"], ["prepare", "extract-2", "layer"]]
    {
        let refused = snapshots(&words);
        assert_ne!(refused.status, 0, "{words:?}: {refused}");
        has(
            &refused.stderr,
            &["a power cut", "/layer were on the disk", "pull the image again", "e2fsck"],
        );
    }
    assert_eq!(list().len(), 1, "a refused snapshot is not there");
    wait_for("the queue has given it up", || active_layers().is_empty().then_some(()));
    snapshots(&["rm", "layer"]).ok();
    collect();
    wait_for("the layer is gone", || list().is_empty().then_some(()));
    snapshots(&["prepare", "extract-1"]).ok();
    snapshots(&["rm", "extract-1"]).ok();
    collect();
    disks.end();
    drop(containerd);
    none.again();
}

#[test]
fn vm_the_journal_of_a_committed_snapshot_is_replayed() {
    let none = NoPool::at_first();
    let mut disks = OnDisks::new();
    let containerd = Containerd::with_snapshotter();
    commit_and_cut(&mut disks, "name", "key");

    snapshots(&["view", "view", "name"]).ok();
    let device = snapshots(&["mounts", "/mnt", "view"]).ok();
    let device =
        device.split_whitespace().find(|word| word.starts_with("/dev/")).expect("a device");
    out(&["e2fsck", "-fn", device]);
    let dir = mounts("view");
    for number in 0..40 {
        let read = fs::read(dir.0.join("dir").join(number.to_string())).expect("a file");
        assert_eq!(read.len(), 10_000 + number);
        assert!(read.iter().all(|byte| *byte == b'x'));
    }
    out(&["umount", dir.str()]);
    for key in ["view", "name"] {
        snapshots(&["rm", key]).ok();
    }
    collect();
    disks.end();
    drop(containerd);
    none.again();
}
