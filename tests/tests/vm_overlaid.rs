//! The writable root of a Docker daemon that may restart under running containers (`live-restore`): an overlay whose upper
//! directory is the snapshot's own tree. It changes as a plain snapshot does, survives the host, keeps what the engine's
//! overlay cannot hold, has its hard size, and nothing in it leads the overlay anywhere.
//!
//! Guest: --selinux permissive --no-docker

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use serde_json::json;
use sharedroot_tests::bundle::{Bundle, make_rootfs};
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::driver::{Layered, Overlay};
use sharedroot_tests::kept::{end, notes, nothing_is_kept, noticed, root, snapshots};
use sharedroot_tests::kernel_view::mounts_of;
use sharedroot_tests::lab::{Replaced, TempDir, only_in_lab};
use sharedroot_tests::pool::{has, pool, reboot, small_bases};
use sharedroot_tests::runtime::{Container, Runtime};
use sharedroot_tests::tree::{differences, list, seconds};

/// The label of each container's root.
const LABEL: &str = "system_u:object_r:container_file_t:s0:c1,c2";

/// What the daemon with `live-restore` reads.
#[track_caller]
fn live_restore() -> Replaced {
    Replaced::with("/etc/docker/daemon.json", "{\"live-restore\": true}\n")
}

/// A store of Docker's with one image; containers on it. Dropping a container unmounts its overlay.
struct Store {
    dir: TempDir,
    image: Layered,
}

struct Driven {
    bundle: Bundle,
    overlay: Overlay,
    id: String,
}

impl Store {
    #[track_caller]
    fn new(number: usize, more: impl FnOnce(&Path)) -> Self {
        Self::at(TempDir::new("docker"), number, more)
    }

    /// On an ext4 of its own, whose inodes have less room for attributes than the snapshot's.
    #[track_caller]
    fn small(number: usize) -> Self {
        let dir = TempDir::new("docker");
        let file = format!("{}/store.ext4", dir.str());
        out(&["truncate", "-s", "64M", &file]);
        out(&["mke2fs", "-q", "-t", "ext4", "-b", "1024", &file]);
        out(&["mount", "-o", "loop", &file, dir.str()]);
        Self::at(dir, number, |_| {})
    }

    #[track_caller]
    fn at(dir: TempDir, number: usize, more: impl FnOnce(&Path)) -> Self {
        let image = Layered::numbered(dir.0.clone(), number, |layer| {
            make_rootfs(layer);
            for dir in ["data/keep", "data/moves/below", "data/goes"] {
                fs::create_dir_all(layer.join(dir)).unwrap();
            }
            for file in ["data/keep/file", "data/moves/below/file", "data/goes/file", "top"] {
                fs::write(layer.join(file), file).unwrap();
            }
            fs::set_permissions(layer, fs::Permissions::from_mode(0o755)).unwrap();
            more(layer);
        });
        Self { dir, image }
    }

    #[track_caller]
    fn container(&self, runtime: &Runtime) -> Driven {
        let id = unique_name("c");
        let overlay = self.image.unmounted(&id);
        let bundle = Bundle::new(runtime, &["sleep", "1000"]);
        bundle.edit(|config| {
            config["root"] = json!({ "path": overlay.merged });
            config["linux"]["mountLabel"] = json!(LABEL);
        });
        let driven = Driven { bundle, overlay, id };
        driven.mount();
        driven
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        sharedroot_tests::command::run(&["umount", "--lazy", self.dir.str()]);
    }
}

impl Driven {
    #[track_caller]
    fn mount(&self) {
        let (options, merged) = (&self.overlay.options, self.merged());
        out(&["mount", "-t", "overlay", "overlay", "-o", options, merged]);
    }

    fn merged(&self) -> &str {
        self.overlay.merged.to_str().unwrap()
    }

    #[track_caller]
    fn starts<'r>(&self, runtime: &'r Runtime) -> (Container<'r>, PathBuf) {
        runtime.cmd(&["create", "--bundle", self.bundle.str(), &self.id]).run().ok();
        runtime.cmd(&["start", &self.id]).run().ok();
        let container = runtime.container(self.id.clone());
        let top = root(&container);
        (container, top)
    }

    /// What mount(8) calls the file system of the container's root.
    #[track_caller]
    fn fstype(&self) -> String {
        let found = mounts_of("self").into_iter().rfind(|mount| mount.at == self.merged());
        found.map(|mount| format!("{} {}", mount.source, mount.fstype)).unwrap_or_default()
    }

    /// The host ends under the container, but for its engine's overlay.
    #[track_caller]
    fn host_ends(&self, runtime: &Runtime, container: Container<'_>) {
        out(&["sync"]);
        end(&container);
        let state = Path::new(runtime.root()).join(&container.id);
        std::mem::forget(container);
        out(&["umount", "--lazy", self.merged()]);
        let _ = fs::remove_dir_all(state);
        reboot();
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        sharedroot_tests::command::run(&["umount", self.merged()]);
    }
}

/// Changes of every kind, made where the container sees its root.
fn change(top: &Path) {
    fs::write(top.join("top"), "changed").unwrap();
    fs::write(top.join("new"), "new").unwrap();
    fs::hard_link(top.join("new"), top.join("data/linked")).unwrap();
    fs::create_dir_all(top.join("made/in")).unwrap();
    symlink("../new", top.join("made/link")).unwrap();
    fs::rename(top.join("data/moves"), top.join("moved")).unwrap();
    fs::remove_dir_all(top.join("data/goes")).unwrap();
    fs::create_dir(top.join("data/goes")).unwrap();
    fs::set_permissions(top.join("data/keep"), fs::Permissions::from_mode(0o2711)).unwrap();
    let set =
        |path: &str, name| rustix::fs::setxattr(top.join(path), name, b"y", XattrFlags::empty());
    set("data/keep/file", "user.of-it").unwrap();
    set("made", "trusted.of-it").unwrap();
    let null = rustix::fs::makedev(1, 3);
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, top.join("null"), FileType::CharacterDevice, mode, null).unwrap();
}

#[test]
fn vm_it_changes_as_a_plain_snapshot_does() {
    only_in_lab();
    let _config = small_bases();
    let (runtime, store) = (Runtime::sharedroot(), Store::new(0x11fe, |_| {}));
    let plain = store.container(&runtime);
    let (container, top) = plain.starts(&runtime);
    assert!(plain.fstype().ends_with("ext4"), "{}", plain.fstype());
    change(&top);
    container.call("delete", &["--force"]).ok();

    let _daemon = live_restore();
    let ours = store.container(&runtime);
    let (container, top) = ours.starts(&runtime);
    let volume = snapshots().pop().unwrap();
    has(&ours.fstype(), &[&volume, "overlay"]);
    assert_eq!(fs::metadata(&top).unwrap().mode(), 0o040_755);
    let entries = fs::read_dir(&top).unwrap().map(|entry| entry.unwrap().file_name());
    let hidden =
        entries.filter(|name| name.to_str().is_some_and(|name| name.contains("sharedroot")));
    assert_eq!(hidden.count(), 0);
    change(&top);
    for file in ["", "new", "data/keep/file"] {
        let label = out(&["stat", "--format=%C", top.join(file).to_str().unwrap()]);
        assert_eq!(label, LABEL, "{file}");
    }
    // The host sees what the container sees, and both can write.
    fs::write(Path::new(ours.merged()).join("data/copied"), "copied").unwrap();
    assert_eq!(fs::read_to_string(top.join("data/copied")).unwrap(), "copied");
    fs::remove_file(top.join("data/copied")).unwrap();
    // An image that is made now: the engine packs its own upper directory.
    container.call("pause", &[]).ok();
    assert_eq!(fs::read_to_string(ours.overlay.dirs[0].join("diff/new")).unwrap(), "new");
    container.call("resume", &[]).ok();
    fs::write(top.join("later"), "later").unwrap();
    fs::remove_file(top.join("later")).unwrap();
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    let lines = |of: &Driven| list(&of.overlay.merged, |_| String::new(), &[]);
    let differ = differences(&lines(&ours), &lines(&plain));
    assert!(differ.is_empty(), "{differ}");
    let old = |of: &Driven| list(&of.overlay.merged.join("moved"), seconds, &[]);
    assert_eq!(old(&ours), old(&plain));
}

#[test]
fn vm_it_survives_the_host_and_keeps_what_does_not_fit() {
    only_in_lab();
    let (_config, _daemon) = (small_bases(), live_restore());
    let (runtime, store) = (Runtime::sharedroot(), Store::new(0x22fe, |_| {}));
    let ours = store.container(&runtime);
    let (container, top) = ours.starts(&runtime);
    change(&top);
    ours.host_ends(&runtime, container);
    assert_eq!((snapshots().len(), notes()), (1, 1));
    fs::write(Path::new(ours.merged()).join("copied"), "copied").unwrap();
    let (container, top) = ours.starts(&runtime);
    assert_eq!(fs::read_to_string(top.join("new")).unwrap(), "new");
    assert_eq!(fs::read_to_string(top.join("copied")).unwrap(), "copied");
    assert!(!top.join("data/moves").exists() && top.join("moved/below/file").exists());

    // A host that ends at once: whatever of the snapshot reached the disk, the next start works.
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    let (container, top) = ours.starts(&runtime);
    assert_eq!(fs::read_to_string(top.join("new")).unwrap(), "new");
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}

/// The host ends before the tree of a new snapshot has moved: nothing of the container reached the disk either.
#[test]
fn vm_a_snapshot_that_was_not_ready_gives_nothing_back() {
    only_in_lab();
    let (_config, _daemon) = (small_bases(), live_restore());
    let (runtime, store) = (Runtime::sharedroot(), Store::new(0x88fe, |_| {}));
    let ours = store.container(&runtime);
    fs::write(Path::new(ours.merged()).join("earlier"), "earlier").unwrap();
    let (container, _) = ours.starts(&runtime);
    let beside = TempDir::new("beside");
    let name = format!("sharedroot-default-{}", snapshots()[0]);
    let device = out(&["dmsetup", "info", "-c", "--noheadings", "-o", "blkdevname", &name]);
    // One file system has one label.
    let label = format!("context=\"{LABEL}\"");
    out(&["mount", "-o", &label, &format!("/dev/{}", device.trim()), beside.str()]);
    fs::remove_dir(beside.0.join(".sharedroot-lower")).unwrap();
    out(&["umount", beside.str()]);
    ours.host_ends(&runtime, container);
    let (container, top) = ours.starts(&runtime);
    assert_eq!(fs::read_to_string(top.join("earlier")).unwrap(), "earlier");
    assert_eq!(fs::read_to_string(top.join("data/keep/file")).unwrap(), "data/keep/file");
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}

/// What its engine's file system has no room for.
fn fill(top: &Path) {
    fs::create_dir(top.join("filled")).unwrap();
    let set =
        rustix::fs::setxattr(top.join("filled"), "user.large", &[b'x'; 3000], XattrFlags::empty());
    set.unwrap();
}

#[test]
fn vm_what_its_engine_cannot_hold_is_kept_and_told() {
    only_in_lab();
    let (_config, daemon) = (small_bases(), live_restore());
    let (runtime, store) = (Runtime::sharedroot(), Store::small(0x66fe));
    let ours = store.container(&runtime);
    let (upper, merged) = (ours.overlay.dirs[0].join("diff"), ours.overlay.merged.clone());
    let (container, top) = ours.starts(&runtime);
    let volume = snapshots().pop().unwrap();
    fill(&top);
    fs::write(top.join("new"), "new").unwrap();
    has(&container.call("pause", &[]).fails(1), &["/filled", "would lack"]);
    // The image that the engine makes all the same has the notice, and the container has not.
    assert_eq!((noticed(&upper).len(), noticed(&top).len()), (1, 0));
    has(&noticed(&upper)[0], &[&volume]);
    container.call("delete", &["--force"]).ok();
    assert_eq!((noticed(&merged).len(), snapshots().len()), (1, 1));
    assert!(merged.join(&noticed(&merged)[0]).join(".wh.").exists());

    // The engine copies into the stopped container; the daemon has no live-restore any more.
    fs::write(merged.join("copied"), "copied").unwrap();
    drop(daemon);
    let (container, top) = ours.starts(&runtime);
    has(&ours.fstype(), &[&volume, "overlay"]);
    assert_eq!(fs::read_to_string(top.join("copied")).unwrap(), "copied");
    let mut value = [0_u8; 4096];
    assert_eq!(rustix::fs::getxattr(top.join("filled"), "user.large", &mut value), Ok(3000));
    assert_eq!((noticed(&upper).len(), noticed(&top).len()), (1, 0));
    fs::remove_dir(top.join("filled")).unwrap();
    container.call("pause", &[]).ok();
    assert_eq!(noticed(&upper).len(), 0);
    container.call("resume", &[]).ok();
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
    assert_eq!(noticed(&merged).len(), 0);
    assert_eq!(fs::read_to_string(merged.join("new")).unwrap(), "new");

    // A plain snapshot that is kept does not become another kind of root, and an administrator gives it up.
    let (container, top) = ours.starts(&runtime);
    fill(&top);
    container.call("delete", &["--force"]).ok();
    let _daemon = live_restore();
    let said = runtime.cmd(&["create", "--bundle", ours.bundle.str(), &ours.id]).run().fails(1);
    has(&said, &["/filled", "live-restore", "pool drop"]);
    assert_eq!(noticed(&merged).len(), 1);
    pool(&["drop", &snapshots()[0]]).ok();
    nothing_is_kept();
    assert_eq!(noticed(&upper).len(), 0);
}

#[test]
fn vm_nothing_in_it_leads_the_overlay_anywhere() {
    only_in_lab();
    let (_config, _daemon) = (small_bases(), live_restore());
    let (runtime, store) = (Runtime::sharedroot(), Store::new(0x33fe, |_| {}));
    let ours = store.container(&runtime);
    let (container, top) = ours.starts(&runtime);
    // As on any overlay, a container makes no sign that something is removed, and attributes that mean nothing.
    let mode = Mode::from_raw_mode(0o600);
    let made = rustix::fs::mknodat(CWD, top.join("gone"), FileType::CharacterDevice, mode, 0);
    assert_eq!(made, Err(rustix::io::Errno::PERM));
    fs::create_dir(top.join("led")).unwrap();
    fs::write(top.join("led/file"), "file").unwrap();
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(top.join(path), name, value, XattrFlags::empty())
    };
    let led = [
        set("led", "trusted.overlay.redirect", b"/etc"),
        set("led/file", "trusted.overlay.metacopy", b""),
        set("data", "trusted.overlay.opaque", b"y"),
        set("data", "trusted.overlay.whiteouts", b"y"),
    ];
    println!("attributes of the overlay's: {led:?}");
    out(&["sh", "-c", "echo 2 > /proc/sys/vm/drop_caches"]);
    assert_eq!(fs::read_to_string(top.join("led/file")).unwrap(), "file");
    assert_eq!(fs::read_to_string(top.join("data/keep/file")).unwrap(), "data/keep/file");
    assert_eq!(fs::read_dir(top.join("led")).unwrap().count(), 1);
    container.call("delete", &["--force"]).ok();
    let merged = Path::new(ours.merged());
    assert_eq!(fs::read_to_string(merged.join("led/file")).unwrap(), "file");
    assert_eq!(fs::read_to_string(merged.join("data/keep/file")).unwrap(), "data/keep/file");
    for name in snapshots() {
        pool(&["drop", &name]).ok();
    }

    // An image with the names that the snapshot's own directories have.
    let store = Store::new(0x44fe, |layer| fs::create_dir(layer.join(".sharedroot-tree")).unwrap());
    let ours = store.container(&runtime);
    let (container, _) = ours.starts(&runtime);
    assert!(ours.fstype().starts_with("overlay"), "{}", ours.fstype());
    container.call("delete", &["--force"]).ok();
    out(&["sharedroot", "gc"]);
    nothing_is_kept();
}

#[test]
fn vm_its_size_is_hard() {
    only_in_lab();
    let (_config, _daemon) = (small_bases(), live_restore());
    let (runtime, store) = (Runtime::sharedroot(), Store::new(0x55fe, |_| {}));
    let ours = store.container(&runtime);
    ours.bundle.edit(|config| config["annotations"]["dev.sharedroot.size"] = json!("64M"));
    let (container, top) = ours.starts(&runtime);
    let error = fs::write(top.join("large"), vec![1; 100 << 20])
        .and_then(|()| fs::File::open(top.join("large"))?.sync_all());
    assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    let used = fs::metadata(top.join("large")).unwrap().len() >> 20;
    assert!((50..64).contains(&used), "{used} MiB before the end");
    fs::remove_file(top.join("large")).unwrap();
    container.call("delete", &["--force"]).ok();
    nothing_is_kept();
}
