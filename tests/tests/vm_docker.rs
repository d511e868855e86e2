//! Which root file system a Docker container gets, and what it costs.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200 --takes 150 --shim long

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;

use sharedroot_tests::census::Census;
use sharedroot_tests::command::out;
use sharedroot_tests::docker::{Container, FreshImage, docker, docker_run};
use sharedroot_tests::kernel_view::{identity, root_of};
use sharedroot_tests::lab::{TempDir, wait_for};

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// `docker run --detach --read-only IMAGE sleep`
#[track_caller]
fn read_only(image: &str) -> Container {
    Container::run(&["--read-only", image, SLEEP[0], SLEEP[1]])
}

/// `docker run --detach IMAGE sleep`
#[track_caller]
fn writable(image: &str) -> Container {
    Container::run(&[image, SLEEP[0], SLEEP[1]])
}

#[test]
fn vm_a_read_only_root_is_the_base() {
    let container = read_only("busybox");
    let root = root_of(container.pid());
    assert!(root.is_on_dm() && root.fstype == "ext4" && root.has("ro"), "{root:?}");
    assert_eq!(container.record()["rootfs"]["kind"], "shared");

    let write = container.call("exec", &["touch", "/file"]);
    assert!(write.status != 0 && write.stderr.contains("Read-only file system"), "{write}");
    // Not even root of the host, through the container's own mounts.
    let host = fs::write(format!("/proc/{}/root/file", container.pid()), "");
    assert_eq!(host.unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn vm_a_read_only_root_holds_what_runc_shows() {
    // Names, types, modes, owners and contents. Link counts are left out: overlay gives every merged directory 1, and
    // counts links that a later layer removed.
    let look = "cd / && find . -xdev ! -path './proc*' ! -path './sys*' ! -path './dev*' -exec stat -c '%n %F %a %u:%g' {} + | sort; \
                find bin etc usr -xdev -type f -exec sha256sum {} + | sort; readlink /bin; readlink /etc/mtab";
    let links = "find / -xdev -type f -links +1 -exec stat -c '%i %n' {} +";
    for image in ["debian", "busybox"] {
        let flags = ["--read-only", "--hostname=same", image, "sh", "-c"];
        let show =
            |runtime, script: &str| docker_run(runtime, &[&flags[..], &[script]].concat()).ok();
        let [ours, runc] = ["sharedroot", "runc"].map(|runtime| show(runtime, look));
        let (ours, runc): (BTreeSet<_>, BTreeSet<_>) =
            (ours.lines().collect(), runc.lines().collect());
        let more: Vec<_> = ours.difference(&runc).collect();
        let less: Vec<_> = runc.difference(&ours).collect();
        assert!(
            more.is_empty() && less.is_empty(),
            "{image}: only ours: {more:#?}\nonly runc's: {less:#?}"
        );
        assert!(ours.len() > 20, "{ours:?}");
        let [ours, runc] = ["sharedroot", "runc"].map(|runtime| linked(&show(runtime, links)));
        assert_eq!(ours, runc, "{image}: names of one file");
        assert_eq!(ours.is_empty(), image == "busybox", "{image} has hard links: {ours:?}");
    }
}

/// Lines `INODE NAME` as the sets of two or more names that one file has.
fn linked(lines: &str) -> BTreeSet<BTreeSet<String>> {
    let mut files = BTreeMap::<&str, BTreeSet<String>>::new();
    for (inode, name) in lines.lines().filter_map(|line| line.split_once(' ')) {
        files.entry(inode).or_default().insert(name.to_owned());
    }
    files.into_values().filter(|names| names.len() > 1).collect()
}

#[test]
fn vm_every_image_runs_read_only() {
    let nginx = ["--tmpfs=/run", "--tmpfs=/var/lib/nginx", "--tmpfs=/var/log/nginx", "nginx"];
    let cases: [(&[&str], &[&str]); 3] = [
        (&["redis"], &["redis-cli", "ping"]),
        (&nginx, &["sh", "-c", "kill -0 1 && cat /var/www/html/index.html"]),
        (&["debian", "sleep", "1000"], &["bash", "-c", "echo $((6*7))"]),
    ];
    for ((flags, probe), answer) in cases.into_iter().zip(["PONG", "<p>lab", "42"]) {
        let container = Container::run(&[&["--read-only"], flags].concat());
        assert_eq!(container.record()["rootfs"]["kind"], "shared", "{flags:?}");
        // The server needs a moment.
        wait_for(&format!("{flags:?} answers"), || {
            let got = container.call("exec", probe);
            (got.status == 0 && got.stdout.contains(answer)).then_some(())
        });
        assert_eq!(container.inspect(".State.Status"), "running");
    }
    let python =
        ["--read-only", "python", "python3", "-c", "import json, ssl; print(json.dumps([6 * 7]))"];
    assert_eq!(docker_run("sharedroot", &python).ok(), "[42]");
    let pause = Container::run(&["--read-only", "pause"]);
    assert_eq!(pause.inspect(".State.Status"), "running");
    assert_eq!(pause.record()["rootfs"]["kind"], "shared");
}

#[test]
fn vm_ten_first_containers_make_one_base() {
    drop(read_only("busybox")); // the pool is there
    let image = FreshImage::new();
    let before = Census::take();
    let containers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..10).map(|_| scope.spawn(|| read_only(image.name()))).collect();
        threads.into_iter().map(|t| t.join().expect("docker run")).collect()
    });
    let after = Census::take();
    let new = |kind| after.of(kind).difference(&before.of(kind)).cloned().collect::<Vec<_>>();
    assert_eq!(new("thin id").len(), 1, "{:?}", new("thin id"));
    assert_eq!(new("device sharedroot").len(), 1, "{:?}", new("device"));
    assert_eq!(new("mount /run/sharedroot").len(), 1, "{:?}", new("mount"));
    let roots: BTreeSet<_> = containers.iter().map(|c| identity(c.pid(), "/").0).collect();
    assert_eq!(roots.len(), 1, "device numbers of the roots");
    for container in &containers {
        let root = root_of(container.pid());
        assert!(root.is_on_dm() && root.has("ro"), "{root:?}");
    }
}

#[test]
fn vm_later_containers_read_nothing() {
    // A shared library and a program, so that both have to be in the page cache.
    let flags = ["--read-only", "debian", "sleep", "1000"];
    // To its end, so that all of it was read.
    docker_run("sharedroot", &["--read-only", "debian", "sleep", "0"]).ok();
    let first = Container::run(&flags);
    let root = root_of(first.pid());
    let files = ["/usr/bin/sleep", "/usr/lib/x86_64-linux-gnu/libc.so.6"];
    let same = files.map(|file| identity(first.pid(), file));
    let read = root.sectors_read();
    for n in 2..=10 {
        let container = Container::run(&flags);
        assert_eq!(root_of(container.pid()).device, root.device, "container {n}");
        assert_eq!(files.map(|file| identity(container.pid(), file)), same, "container {n}");
        assert_eq!(root.sectors_read() - read, 0, "sectors read by container {n}");
    }
    // The same inode has its pages in memory: one copy, because there is one inode.
    for file in files {
        let path = format!("/proc/{}/root{file}", first.pid());
        let resident = out(&["fincore", "--noheadings", "--output", "PAGES", &path]);
        assert!(
            resident.trim().parse::<u64>().expect("a number of pages") > 0,
            "{file}: {resident}"
        );
    }
}

#[test]
fn vm_a_writable_root_is_an_own_snapshot() {
    let image = FreshImage::new();
    let (base, one, other) =
        (read_only(image.name()), writable(image.name()), writable(image.name()));
    let [base_root, root, other_root] = [&base, &one, &other].map(|c| root_of(c.pid()));
    assert!(root.is_on_dm() && root.fstype == "ext4" && root.has("rw"), "{root:?}");
    assert!(root.device != base_root.device && root.device != other_root.device, "{root:?}");
    assert_eq!(one.record()["rootfs"]["kind"], "private");

    one.exec(&["sh", "-c", "echo written > /etc/new; echo changed > /etc/unique"]);
    assert_eq!(one.exec(&["cat", "/etc/new", "/etc/unique"]), "written\nchanged");
    for untouched in [&base, &other] {
        assert_eq!(untouched.exec(&["cat", "/etc/unique"]), image.name());
        assert_ne!(untouched.call("exec", &["ls", "/etc/new"]).status, 0);
    }
    // Docker's own commands look at the running container's root, too.
    let dir = TempDir::new("cp");
    docker(&["cp", &format!("{}:/etc/new", one.id), dir.str()]).ok();
    assert_eq!(fs::read_to_string(dir.0.join("new")).unwrap(), "written\n");
    docker(&["cp", &format!("{}/new", dir.str()), &format!("{}:/etc/copied", one.id)]).ok();
    assert_eq!(one.exec(&["cat", "/etc/copied"]), "written");
    // And a later container begins with the image again.
    assert_eq!(writable(image.name()).exec(&["cat", "/etc/unique"]), image.name());
}

#[test]
fn vm_nothing_is_left() {
    for flags in
        [&["--read-only"][..], &[], &["--read-only", "--annotation=dev.sharedroot.mode=off"]]
    {
        let with = |rest: &[&'static str]| [flags, rest].concat();
        // The base, its mount and its device may stay; Docker's own directories appear once.
        drop(Container::run(&with(&["busybox", "sleep", "1000"])));
        docker_run("sharedroot", &with(&["busybox", "true"])).ok();
        let before = Census::take();
        drop(Container::run(&with(&["busybox", "sleep", "1000"])));
        before.nothing_left();
        docker_run("sharedroot", &with(&["busybox", "sh", "-c", "touch /tmp/x; exit 3"])).fails(3);
        before.nothing_left();
        docker_run("sharedroot", &with(&["busybox", "/no/such/program"])).fails(127);
        before.nothing_left();
        docker_run("sharedroot", &with(&["--entrypoint=/etc/passwd", "busybox"])).fails(126);
        before.nothing_left();
        drop(Container::create(&with(&["busybox", "true"])));
        before.nothing_left();
        let killed = Container::run(&with(&["busybox", "sleep", "1000"]));
        killed.call("kill", &[]).ok();
        killed.becomes("exited");
        drop(killed);
        before.nothing_left();
    }
}

#[test]
fn vm_mode_off_runs_not_shared() {
    // The reason must be where an administrator looks: in the record and in the runtime's log.
    let (off, reason) = ("--annotation=dev.sharedroot.mode=off", "dev.sharedroot.mode");
    let before = root_of(read_only("busybox").pid());
    let container = Container::run(&["--read-only", off, "busybox", "sleep", "1000"]);
    let root = root_of(container.pid());
    assert_eq!(root.fstype, "overlay", "{root:?}");
    assert_ne!(root.device, before.device);
    let rootfs = &container.record()["rootfs"];
    assert_eq!(rootfs["kind"], "not_shared", "{rootfs}");
    assert!(rootfs["why"].as_str().is_some_and(|why| why.contains(reason)), "{rootfs}");
    let log = container.runtime_log();
    assert!(log.contains(reason), "{reason:?} is not in the runtime's log: {log:?}");
}

#[test]
fn vm_mode_private_gives_a_snapshot() {
    let container = Container::run(&[
        "--read-only",
        "--annotation=dev.sharedroot.mode=private",
        "busybox",
        "sleep",
        "1000",
    ]);
    let (root, base) = (root_of(container.pid()), root_of(read_only("busybox").pid()));
    assert!(root.is_on_dm() && root.has("ro") && root.device != base.device, "{root:?}");
    let refused =
        docker_run("sharedroot", &["--annotation=dev.sharedroot.mode=nonsense", "busybox", "true"]);
    assert!(refused.status != 0 && refused.stderr.contains("nonsense"), "{refused}");
}

#[test]
fn vm_the_host_sees_no_mount_of_a_read_only_container() {
    drop(read_only("busybox"));
    let before = Census::take();
    let container = read_only("busybox");
    let after = Census::take();
    // Docker's own overlay and its /dev/shm are there with every runtime.
    let new: Vec<_> = after.of("mount").difference(&before.of("mount")).cloned().collect();
    let docker = |line: &&String| line.contains("(overlay)") || line.contains("/mounts/shm");
    assert!(new.iter().all(|line| docker(&line)), "{new:#?}");
    assert_eq!(after.of("device"), before.of("device"));
    assert_eq!(after.of("thin id"), before.of("thin id"));
    let merged = container.inspect(".GraphDriver.Data.MergedDir");
    assert!(Path::new(&merged).join("bin").exists(), "{merged} shows the overlay to the host");
}
