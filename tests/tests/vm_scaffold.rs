//! Scaffolds: what a read-only container mounts on and its image lacks is put above the base once, for all who lack the same.
//!
//! Guest: --limit 800 --takes 130 --shim long

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::thread;

use sharedroot_tests::census::Census;
use sharedroot_tests::command::{out, run};
use sharedroot_tests::daemon::{self, Wrapper};
use sharedroot_tests::docker::{Container, FreshImage, docker, docker_run};
use sharedroot_tests::kernel_view::{Mount, identity, mounts_of, root_of};
use sharedroot_tests::lab::{RUN_DIR, TempDir, wait_for};

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// A directory and a file of the host, for volumes.
struct Volumes(TempDir);

impl Volumes {
    fn new() -> Self {
        let dir = TempDir::new("volumes");
        fs::create_dir(dir.0.join("dir")).unwrap();
        fs::write(dir.0.join("dir/inside"), "in the directory").unwrap();
        fs::write(dir.0.join("file"), "in the file").unwrap();
        Self(dir)
    }

    /// `--volume` of the directory at a path.
    fn dir(&self, at: &str) -> String {
        format!("--volume={}/dir:{at}:z", self.0.str())
    }

    fn file(&self, at: &str) -> String {
        format!("--volume={}/file:{at}:z", self.0.str())
    }
}

/// The scaffolds that are mounted on the host.
fn scaffolds() -> Vec<Mount> {
    let below = format!("{RUN_DIR}/scaffold/");
    mounts_of("self").into_iter().filter(|mount| mount.at.starts_with(&below)).collect()
}

#[track_caller]
fn read_only(image: &str, flags: &[&str]) -> Container {
    Container::run(&[&["--read-only"], flags, &[image], &SLEEP].concat())
}

/// Type, mode, owner and time of change as the container sees them.
fn look(container: &Container, path: &str) -> String {
    container.exec(&["busybox", "stat", "-c", "%F %a %u:%g %Y", path])
}

#[test]
fn vm_containers_that_lack_the_same_share_a_scaffold() {
    let (image, volumes) = (FreshImage::new(), Volumes::new());
    let plain = read_only(image.name(), &[]);
    let before = Census::take();
    let flags = [volumes.dir("/srv/data/deep"), volumes.file("/etc/new.conf")];
    let flags = flags.each_ref().map(String::as_str);
    let one = read_only(image.name(), &flags);
    // The same set, told otherwise: the order and the spelling change nothing.
    let other =
        read_only(image.name(), &[flags[1], &volumes.dir("/srv/../srv/./data/deep/"), "--env=A=b"]);
    let mounted = scaffolds();
    assert_eq!(mounted.len(), 1, "{mounted:#?}");
    let [root, others] = [&one, &other].map(|container| root_of(container.pid()));
    for root in [&root, &others] {
        assert_eq!((&*root.fstype, &root.device), ("overlay", &mounted[0].device), "{root:?}");
        assert!(root.has("ro") && !root.super_options.contains("upperdir"), "{root:?}");
    }
    let (rootfs, same) = (one.record()["rootfs"].clone(), other.record()["rootfs"].clone());
    assert_eq!((&rootfs["kind"], &rootfs), (&"shared".into(), &same));
    assert!(mounted[0].at.ends_with(rootfs["scaffold"].as_str().unwrap()), "{rootfs}");

    for container in [&one, &other] {
        assert_eq!(container.exec(&["cat", "/srv/data/deep/inside"]), "in the directory");
        assert_eq!(container.exec(&["cat", "/etc/new.conf"]), "in the file");
        assert!(look(container, "/srv/data").starts_with("directory 755 0:0"));
        // What the image has looks as it does without a scaffold.
        for path in ["/", "/etc", "/etc/unique", "/bin/busybox"] {
            assert_eq!(look(container, path), look(&plain, path), "{path}");
        }
        for path in ["/new", "/etc/new", "/srv/new", "/srv/data/new"] {
            let written = container.call("exec", &["touch", path]);
            assert!(written.stderr.contains("Read-only file system"), "{path}: {written}");
        }
    }
    let third = read_only(image.name(), &[&volumes.dir("/etc/new.conf")]);
    assert_eq!(scaffolds().len(), 2, "a directory there is another set");
    drop((one, third));
    assert_eq!(scaffolds(), mounted, "the other one has it, and the third's is gone");
    drop(other);
    before.nothing_left();
    assert_eq!(scaffolds(), []);
    drop(plain);
}

/// Pages of a file in memory and those that were thrown out. Only cachestat(2) knows the second.
#[track_caller]
fn cached(path: &str) -> u64 {
    let said = out(&["fincore", "--noheadings", "--output", "PAGES,EVICTED_PAGES", path]);
    let figures: Vec<_> = said.split_whitespace().map(str::parse::<u64>).collect();
    match figures.as_slice() {
        [Ok(pages), Ok(_)] => *pages,
        _ => panic!("fincore of {path}: {said}"),
    }
}

#[test]
fn vm_a_scaffold_has_the_page_cache_of_its_base() {
    const FILE: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";
    let volumes = Volumes::new();
    let plain = read_only("debian", &[]);
    let base = root_of(plain.pid());
    let pid = plain.pid();
    let on_base = format!("/proc/{pid}/root{FILE}");
    let size = fs::metadata(&on_base).unwrap().len();
    let containers =
        ["/missing/a", "/missing/b"].map(|at| read_only("debian", &[&volumes.dir(at)]));
    assert_eq!(scaffolds().len(), 2);
    let read = |container: &Container| container.exec(&["cksum", FILE]);
    // Once, so that cksum itself and the whole file are there.
    let sum = read(&plain);
    let pages = cached(&on_base);
    assert_eq!(pages, size.div_ceil(4096), "the whole file is in memory");
    let sectors = base.sectors_read();
    for container in &containers {
        assert_eq!(read(container), sum);
        // An overlay's inode has no pages of its own: what the container reads and maps are the base's.
        let through = format!("/proc/{}/root{FILE}", container.pid());
        assert_eq!(fs::metadata(&through).unwrap().len(), size);
        assert_eq!(cached(&through), 0, "a second copy of the file is in memory");
        assert_ne!(identity(container.pid(), FILE).0, identity(pid, FILE).0);
    }
    assert_eq!(cached(&on_base), pages);
    assert_eq!(base.sectors_read() - sectors, 0, "sectors read from the base's device");
    // And the other way round: thrown out of memory and read by a scaffold, it is there for the base.
    out(&["sh", "-c", &format!("sync; dd if={on_base} iflag=nocache count=0 status=none")]);
    assert!(cached(&on_base) < pages, "nothing was thrown out");
    read(&containers[0]);
    assert_eq!(cached(&on_base), pages);
}

#[test]
fn vm_many_at_once_mount_one_scaffold() {
    let (image, volumes) = (FreshImage::new(), Volumes::new());
    drop(read_only(image.name(), &[]));
    let before = Census::take();
    let flag = volumes.dir("/for/all");
    let containers: Vec<_> = thread::scope(|scope| {
        let start = || read_only(image.name(), &[&flag]);
        let started: Vec<_> = (0..12).map(|_| scope.spawn(start)).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(scaffolds().len(), 1, "{:#?}", scaffolds());
    let devices: BTreeSet<_> = containers.iter().map(|c| root_of(c.pid()).device).collect();
    assert_eq!(devices.len(), 1, "{devices:?}");
    thread::scope(|scope| {
        for container in containers {
            scope.spawn(move || drop(container));
        }
    });
    before.nothing_left();
}

/// The directories of the containers' records.
fn records() -> Vec<PathBuf> {
    let found = out(&["find", &format!("{RUN_DIR}/containers"), "-name", "record.json"]);
    found.lines().map(|path| PathBuf::from(path).parent().unwrap().to_owned()).collect()
}

#[test]
fn vm_gc_and_image_rm_take_forgotten_scaffolds_away() {
    let (image, volumes) = (FreshImage::new(), Volumes::new());
    drop(read_only(image.name(), &[]));
    // It takes the bases of earlier tests' images away, too.
    out(&["sharedroot", "gc"]);
    let before = Census::take();
    for remover in ["gc", "image rm"] {
        let container = read_only(image.name(), &[&volumes.dir("/left/over")]);
        let base = container.record()["rootfs"]["base"].as_str().unwrap().to_owned();
        out(&["sharedroot", "gc"]);
        assert_eq!(scaffolds().len(), 1, "gc takes none away that is used");
        // A `delete` that died between the record and the scaffold.
        let kept = TempDir::new("record");
        let record = records().into_iter().find(|dir| dir.ends_with(&container.id)).unwrap();
        out(&["cp", "--archive", record.to_str().unwrap(), kept.str()]);
        fs::remove_dir_all(&record).unwrap();
        let planned = out(&["sharedroot", "gc", "--dry-run"]);
        assert!(planned.contains("would unmount the scaffold"), "{planned}");
        assert_eq!(scaffolds().len(), 1);
        if remover == "gc" {
            let done = out(&["sharedroot", "gc"]);
            assert!(done.contains("unmounted the scaffold"), "{done}");
        } else {
            // The container has the device; the mounts are gone all the same.
            let busy = run(&["sharedroot", "image", "rm", &base]);
            assert_ne!(busy.status, 0, "{busy}");
        }
        assert_eq!(scaffolds(), [], "{remover}");
        let inside = format!("/proc/{}/root/left/over/inside", container.pid());
        assert_eq!(fs::read_to_string(inside).unwrap(), "in the directory", "{remover}");
        out(&[
            "cp",
            "--archive",
            &format!("{}/{}", kept.str(), container.id),
            record.to_str().unwrap(),
        ]);
        drop(container);
        drop(read_only(image.name(), &[]));
        before.nothing_left();
    }
}

#[test]
fn vm_a_killed_create_leaves_no_scaffold() {
    let (image, volumes) = (FreshImage::new(), Volumes::new());
    drop(read_only(image.name(), &[]));
    daemon::warm_up();
    // It takes the bases of earlier tests' images away, too.
    out(&["sharedroot", "gc"]);
    let before = Census::take();
    let flag = volumes.dir("/killed/here");
    // Calls of one thread are counted: before the skeleton is placed where the host does not see it; after the scaffold
    // was mounted on the host, before the container has its bind; before that becomes its root.
    for (call, nth) in [("move_mount", 1), ("open_tree", 2), ("move_mount", 2)] {
        let wrapper = Wrapper::new(&format!(
            "exec strace -f -o /dev/null -e trace={call} \
             -e inject={call}:signal=SIGKILL:when={nth} /usr/local/bin/sharedroot \"$@\""
        ));
        let flags = ["--read-only", &flag, image.name(), "true"];
        let killed = docker_run(&wrapper.name, &flags);
        assert_ne!(killed.status, 0, "{call} {nth}: {killed}");
        out(&["sharedroot", "gc"]);
        before.nothing_left();
    }
    docker_run("sharedroot", &["--read-only", &flag, image.name(), "true"]).ok();
    before.nothing_left();
}

#[test]
fn vm_each_engine_has_scaffolds() {
    let volumes = Volumes::new();
    for engine in ["crun", "runc"] {
        let runtime = Wrapper::with_arguments(&["--engine", engine]);
        let [dir, file] = [volumes.dir("/engine/dir"), volumes.file("/engine/file")];
        let container = Container::run_with(
            &runtime.name,
            &[&["--read-only", &dir, &file, "busybox"][..], &SLEEP].concat(),
        );
        assert_eq!(container.record()["rootfs"]["kind"], "shared", "{engine}");
        assert_eq!(scaffolds().len(), 1, "{engine}");
        assert_eq!(container.exec(&["cat", "/engine/file"]), "in the file", "{engine}");
        drop(container);
        wait_for("the scaffold is gone", || scaffolds().is_empty().then_some(()));
        // A device's node is no mount: it needs a root of the container's own.
        let device = ["--read-only", "--device=/dev/zero:/odd/zero", "busybox"];
        let container = Container::run_with(&runtime.name, &[&device[..], &SLEEP].concat());
        assert_eq!(container.record()["rootfs"]["kind"], "not_shared", "{engine}");
        container.exec(&["test", "-c", "/odd/zero"]);
    }
}

#[test]
fn vm_what_was_copied_into_a_container_lies_above_its_base() {
    let (image, volumes) = (FreshImage::new(), Volumes::new());
    let plain = read_only(image.name(), &[]);
    // The daemon makes the working directory in the container's own layer.
    let flags = ["--workdir=/work/here", &volumes.dir("/lacking/too")];
    let container = read_only(image.name(), &flags);
    let root = root_of(container.pid());
    assert_eq!(container.record()["rootfs"]["kind"], "shared", "{}", container.record());
    assert!(root.fstype == "overlay" && !root.super_options.contains("upperdir"), "{root:?}");
    assert_eq!(container.exec(&["pwd"]), "/work/here");
    assert_eq!(container.exec(&["cat", "/lacking/too/inside"]), "in the directory");
    assert_eq!(look(&container, "/etc"), look(&plain, "/etc"));
    assert_eq!(scaffolds(), [], "it is this container's alone");
    // What it changes in a layer of its own, Docker's own commands find.
    let said = docker(&["diff", &container.id]).ok();
    assert!(said.contains("A /work/here"), "{said}");
    container.with_flags("restart", &["--time=1"]).ok();
    assert_eq!(container.exec(&["pwd"]), "/work/here");
}
