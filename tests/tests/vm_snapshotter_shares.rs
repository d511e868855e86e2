//! The snapshotter gives read-only containers of one image one root: one mount of the image's volume, whose files are in memory
//! once. Every other container gets a snapshot of its own.
//!
//! Guest: --with snapshotter --alone --limit 1500 --takes 120 --unstable plain

use std::fs;
use std::path::Path;

use sharedroot_tests::command::out;
use sharedroot_tests::kernel_view::{identity, root_of};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::scatter::{scatter, taken};
use sharedroot_tests::shim::ctr;
use sharedroot_tests::snapshotter::{
    Containerd, Dockerd, IMAGE, Snapshotter, Task, bases, collect, import, is_reached, list,
    snapshots,
};

/// A large file of the image.
const FILE: &str = "/usr/bin/redis-server";
const RUNC: &str = "/usr/bin/runc";
const OURS: &str = "/usr/local/bin/sharedroot";

/// How many sectors of the device of its root a container reads to read a file.
#[track_caller]
fn sectors(pid: i32) -> u64 {
    let root = root_of(pid);
    let before = root.sectors_read();
    fs::read(format!("/proc/{pid}/root{FILE}")).expect("read a file of the image");
    root.sectors_read() - before
}

/// Empties the page cache.
fn forget() {
    out(&["sh", "-c", "sync; echo 3 > /proc/sys/vm/drop_caches"]);
}

/// Containers with these PIDs share one root that takes no writes anywhere.
#[track_caller]
fn share(first: i32, second: i32) {
    let roots = [first, second].map(root_of);
    assert_eq!(roots[0].device, roots[1].device, "one file system: {roots:?}");
    assert_eq!(identity(first, FILE), identity(second, FILE), "one inode");
    let base: Vec<_> = bases().into_iter().filter(|b| b.device == roots[0].device).collect();
    assert_eq!(base.len(), 1, "one mount on the host: {base:?}");
    assert!(base[0].has("ro") && base[0].super_options.starts_with("ro"), "{base:?}");
    let device = fs::read_to_string(format!("/sys/dev/block/{}/ro", roots[0].device));
    assert_eq!(device.expect("a device").trim_end(), "1", "the device takes no writes");
    for root in roots {
        assert!(root.options.split(',').any(|option| option == "ro"), "{root:?}");
    }
    forget();
    let read = [first, second].map(sectors);
    assert!(read[0] > 0, "the first one reads the disk");
    assert_eq!(read[1], 0, "the second one finds all of it in memory");
}

/// The containers have file systems of their own.
#[track_caller]
fn apart(first: i32, second: i32) {
    let roots = [first, second].map(root_of);
    assert_ne!(roots[0].device, roots[1].device, "{roots:?}");
    if roots[0].is_on_dm() {
        forget();
        let read = [first, second].map(sectors);
        assert!(read.iter().all(|sectors| *sectors > 0), "each reads the disk: {read:?}");
    }
}

#[test]
fn vm_read_only_containers_of_ctr_share_one_mount() {
    let mut snapshotter = Snapshotter::start();
    let _containerd = Containerd::with_snapshotter();
    import("overlayfs");
    import("sharedroot");
    let layers = list();
    let run = |snapshotter: &str, runtime: &str, flags: &[&str]| {
        [(); 2].map(|()| Task::run(snapshotter, &[&["--runc-binary", runtime], flags].concat()))
    };
    {
        let control = run("overlayfs", RUNC, &["--read-only"]);
        apart(control[0].pid(), control[1].pid());
    }
    let shared = run("sharedroot", OURS, &["--read-only"]);
    share(shared[0].pid(), shared[1].pid());
    assert_eq!(bases().len(), 1);
    for (runtime, flags) in [
        (OURS, &[][..]),
        (RUNC, &["--read-only"]),
        (OURS, &["--read-only", "--annotation", "dev.sharedroot.mode=private"]),
    ] {
        let others = run("sharedroot", runtime, flags);
        apart(others[0].pid(), others[1].pid());
        apart(others[0].pid(), shared[0].pid());
    }
    // The mount outlives the snapshotter, and the next one uses it.
    snapshotter.kill_and_start();
    let later = Task::run("sharedroot", &["--runc-binary", OURS, "--read-only"]);
    share(shared[0].pid(), later.pid());
    // Without containerd's record nothing is known of a container.
    drop(snapshotter);
    let _snapshotter = Snapshotter::start_with(&["--containerd", "/run/nothing.sock"]);
    is_reached();
    let unknown = Task::run("sharedroot", &["--runc-binary", OURS, "--read-only"]);
    apart(unknown.pid(), later.pid());

    drop((shared, later, unknown));
    collect();
    assert_eq!(list(), layers, "containers leave no snapshot");
    ctr(&["image", "rm", "--sync", IMAGE]).ok();
    wait_for("no base is mounted", || bases().is_empty().then_some(()));
    wait_for("the volumes are deleted", || {
        (!out(&["dmsetup", "ls"]).contains("-layer-")).then_some(())
    });
}

/// The size of the device of a container's root.
fn size(pid: i32) -> u64 {
    let path = format!("/sys/dev/block/{}/size", root_of(pid).device);
    let sectors: u64 = fs::read_to_string(path).expect("a device").trim().parse().expect("it");
    sectors * 512
}

/// A root of 64 MiB at `top` is written all over, and takes no more of the pool than its size.
#[track_caller]
fn takes_its_size(top: &Path, what: &str) {
    const SIZE: u64 = 64 << 20;
    let free = rustix::fs::statvfs(top).expect("its root");
    assert!(free.f_blocks * free.f_frsize <= SIZE, "{what}: the file system has that size, too");
    let before = taken();
    let rounds = [0, 1, 2].map(|round| scatter(top, round));
    let grown = taken() - before;
    println!("{what}: files in each round: {rounds:?}; taken of the pool: {grown} bytes");
    // A file has 8 KiB on the average.
    assert!(rounds.iter().sum::<usize>() as u64 * 8192 > SIZE * 5 / 4, "{what}: {rounds:?}");
    assert!(grown <= SIZE, "{what}: {grown} bytes of the pool");
}

/// `docker load`, for ctr.
#[track_caller]
fn import_busybox() {
    let dir = TempDir::new("image");
    let tar = format!("{}/image.tar", dir.str());
    out(&["docker", "save", "-o", &tar, "busybox"]);
    ctr(&["image", "import", "--snapshotter", "sharedroot", &tar]).ok();
}

#[test]
fn vm_a_writable_container_has_the_size_that_it_asks_for() {
    const BUSYBOX: &str = "docker.io/library/busybox:latest";
    let (_snapshotter, _containerd) = (Snapshotter::start(), Containerd::with_snapshotter());
    import_busybox();
    let usual = Task::of(BUSYBOX, "sharedroot", &["--runc-binary", OURS]);
    assert!(size(usual.pid()) > 64 << 20);
    for runtime in [RUNC, OURS] {
        let flags = ["--runc-binary", runtime, "--annotation", "dev.sharedroot.size=64M"];
        let small = Task::of(BUSYBOX, "sharedroot", &flags);
        assert_eq!(size(small.pid()), 64 << 20);
        takes_its_size(Path::new(&format!("/proc/{}/root", small.pid())), runtime);
    }
    drop(usual);
    ctr(&["image", "rm", "--sync", BUSYBOX]).ok();

    // containerd's label, which a client gives to a snapshot before it mounts it.
    snapshots(&["prepare", "labelled"]).ok();
    let size = (64 << 20).to_string();
    snapshots(&["label", "labelled", &format!("containerd.io/snapshot/max-size={size}")]).ok();
    let dir = TempDir::new("mount");
    out(&["sh", "-c", &snapshots(&["mounts", dir.str(), "labelled"]).ok()]);
    takes_its_size(&dir.0, "the label max-size");
    out(&["umount", dir.str()]);
    snapshots(&["rm", "labelled"]).ok();
    collect();
}

/// The init process of a new container of a daemon's.
#[track_caller]
fn run(dockerd: &Dockerd, image: &str, name: &str, flags: &[&str]) -> i32 {
    let run = ["run", "-d", "--network=none", "--name", name];
    dockerd.docker(&[&run[..], flags, &[image, "sleep", "1000"]].concat()).ok();
    let pid = dockerd.docker(&["inspect", "--format", "{{.State.Pid}}", name]).ok();
    pid.trim().parse().expect("a PID")
}

/// What containerd says that the snapshot of a container takes: what the container wrote, and not its image.
#[track_caller]
fn takes_what_it_wrote(dockerd: &Dockerd, pid: i32) {
    let id = dockerd.docker(&["inspect", "--format", "{{.Id}}", "usual"]).ok();
    let words = ["--namespace", "sharedroot", "snapshots", "--snapshotter", "sharedroot"];
    let usage = || {
        let said = ctr(&[&words[..], &["usage", "-b", &id]].concat()).ok();
        let line = said.lines().nth(1).unwrap_or_else(|| panic!("{said}"));
        line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("a number")
    };
    let before = usage();
    assert!(before < 2 << 20, "{before} bytes of a container that wrote nothing");
    let file = format!("/proc/{pid}/root/written");
    fs::write(&file, vec![b'w'; 8 << 20]).expect("a file");
    out(&["sync", "--file-system", &file]);
    let written = usage() - before;
    assert!((8 << 20..10 << 20).contains(&written), "{written} bytes of 8 MiB");
}

/// Docker tells the snapshotter no size; its record of the container has it.
#[test]
fn vm_a_container_of_docker_has_the_size_that_it_asks_for() {
    let (_snapshotter, _containerd) = (Snapshotter::start(), Containerd::with_snapshotter());
    let dockerd = Dockerd::on("sharedroot");
    dockerd.load("busybox");
    let usual = run(&dockerd, "busybox", "usual", &[]);
    assert!(size(usual) > 64 << 20);
    takes_what_it_wrote(&dockerd, usual);
    let option = ["--storage-opt", "size=64M"];
    let annotation = ["--annotation", "dev.sharedroot.size=64M"];
    for (name, runtime, flags) in [
        ("option-runc", "runc", option),
        ("option-ours", "sharedroot", option),
        ("annotation", "sharedroot", annotation),
    ] {
        let flags = [&["--runtime", runtime], &flags[..]].concat();
        let pid = run(&dockerd, "busybox", name, &flags);
        assert_eq!(size(pid), 64 << 20, "{name}");
        takes_its_size(Path::new(&format!("/proc/{pid}/root")), name);
    }
    let names = ["usual", "option-runc", "option-ours", "annotation"];
    dockerd.docker(&[&["rm", "--force"], &names[..]].concat()).ok();
    dockerd.docker(&["rmi", "busybox"]).ok();
}

#[test]
fn vm_read_only_containers_of_docker_share_one_mount() {
    let (_snapshotter, _containerd) = (Snapshotter::start(), Containerd::with_snapshotter());
    let dockerd = Dockerd::on("sharedroot");
    dockerd.load("redis");
    let ours = ["--runtime", "sharedroot", "--read-only"];
    let [first, second] = ["first", "second"].map(|name| run(&dockerd, "redis", name, &ours));
    share(first, second);
    // Docker has files of its own at the top of each root: /etc/hosts and others are mounted there.
    let hosts = fs::read_to_string(format!("/proc/{first}/root/etc/hostname")).expect("a file");
    assert!(!hosts.trim().is_empty());
    let with = |more: &[&'static str]| [&ours[..], more].concat();
    for (name, flags) in [
        ("writable", vec!["--runtime", "sharedroot"]),
        ("runc", vec!["--runtime", "runc", "--read-only"]),
        ("unclear", vec!["--runtime", "other", "--read-only"]),
        ("off", with(&["--annotation", "dev.sharedroot.mode=off"])),
    ] {
        apart(run(&dockerd, "redis", name, &flags), first);
    }
    // Docker makes this directory before anybody knows that the container is read-only.
    let made = run(&dockerd, "redis", "made", &with(&["--workdir", "/a/new/directory"]));
    apart(made, first);
    assert!(Path::new(&format!("/proc/{made}/root/a/new/directory")).is_dir());
    let kept = run(&dockerd, "redis", "kept", &with(&["--workdir", "/usr"]));
    share(kept, first);

    dockerd.docker(&["restart", "--time=0", "first", "made"]).ok();
    let pid = |name| dockerd.docker(&["inspect", "--format", "{{.State.Pid}}", name]).ok();
    share(pid("first").trim().parse().expect("a PID"), second);
    let made = pid("made");
    assert!(Path::new(&format!("/proc/{}/root/a/new/directory", made.trim())).is_dir());
    assert_eq!(dockerd.docker(&["diff", "second"]).ok(), "", "nothing has changed");
    let names = dockerd.docker(&["ps", "--all", "--format", "{{.Names}}"]).ok();
    let names: Vec<_> = names.lines().collect();
    dockerd.docker(&[&["rm", "--force"], &names[..]].concat()).ok();
    dockerd.docker(&["rmi", "redis"]).ok();
    wait_for("no base is mounted", || bases().is_empty().then_some(()));
    wait_for("the volumes are deleted", || {
        (!out(&["dmsetup", "ls"]).contains("-layer-")).then_some(())
    });
}
