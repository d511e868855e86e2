//! A volume at `/dev`, the host's own or another: nothing is made in it, and no link in it leads the runtime anywhere. Generic:
//! passes with `RUNTIME=runc`, too.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, FileType, Mode, makedev};
use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::unique_name;
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

/// A bundle with `source` at `/dev`, and what is usually mounted there above it.
fn bundle(runtime: &Runtime, source: &str) -> Bundle {
    let bundle = Bundle::new(runtime, &["sleep", "1000"]);
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != "/dev");
        let dev = json!({ "destination": "/dev", "type": "bind", "source": source, "options": ["rbind", "rprivate"] });
        mounts.insert(0, dev);
    });
    bundle
}

/// A directory with the devices that a container needs, and a link of the attacker's for each other name that a runtime makes.
struct Volume {
    dir: TempDir,
    /// Where the links lead to: a program of user 1000 with a set-uid bit.
    aim: TempDir,
}

const LINKS: [&str; 4] = ["full", "random", "urandom", "core"];

impl Volume {
    fn new() -> Self {
        let (dir, aim) = (TempDir::new("dev"), TempDir::new("aim"));
        for (name, minor, major) in [("null", 3, 1), ("zero", 5, 1), ("tty", 0, 5), ("ptmx", 2, 5)]
        {
            let (path, mode) = (dir.0.join(name), Mode::from_raw_mode(0o666));
            let device = makedev(major, minor);
            rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, device).expect("mknod");
        }
        let program = aim.0.join("program");
        fs::write(&program, "of the host").expect("write");
        std::os::unix::fs::chown(&program, Some(1000), Some(1000)).expect("chown");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).expect("chmod");
        LINKS.iter().for_each(|name| symlink(&program, dir.0.join(name)).expect("symlink"));
        Self { dir, aim }
    }

    /// Nothing is changed but for mount points.
    #[track_caller]
    fn is_as_it_was(&self) {
        let mut wanted = vec!["mqueue", "null", "ptmx", "pts", "shm", "tty", "zero"];
        wanted.extend(LINKS);
        wanted.sort_unstable();
        let names =
            fs::read_dir(&self.dir.0).expect("list").map(|entry| entry.expect("one").file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().expect("ASCII")).collect();
        names.sort_unstable();
        assert_eq!(names, wanted);
        let program = fs::metadata(self.aim.0.join("program")).expect("stat");
        assert_eq!((program.uid(), program.gid(), program.mode() & 0o7777), (1000, 1000, 0o6755));
        assert!(fs::symlink_metadata(self.dir.0.join("ptmx")).expect("stat").rdev() != 0);
    }
}

/// Where mounts lie in `/dev`, and their types, in their order.
fn mounted(table: &str) -> Vec<(String, String)> {
    let lines = table.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let in_dev = lines.filter(|words| words[1] == "/dev" || words[1].starts_with("/dev/"));
    in_dev.map(|words| (words[1].to_owned(), words[2].to_owned())).collect()
}

#[test]
fn vm_nothing_is_made_in_a_volume_at_dev() {
    let (runtime, volume) = (Runtime::of_env(), Volume::new());
    let bundle = bundle(&runtime, volume.dir.str());
    bundle.edit(|config| {
        config["linux"]["devices"] =
            json!([{ "path": "/dev/full", "type": "c", "major": 1, "minor": 7, "uid": 0, "gid": 0 }]);
    });
    let container = runtime.start(&bundle);
    let table = container.exec(&[], &["cat", "/proc/mounts"]).ok();
    let types = mounted(&table);
    let seen: Vec<_> = types.iter().map(|(at, _)| at.as_str()).collect();
    assert_eq!(seen, ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"], "{table}");
    assert_eq!((types[1].1.as_str(), types[3].1.as_str()), ("devpts", "mqueue"));
    container
        .exec(&[], &["sh", "-c", "echo x > /dev/null && touch /dev/shm/x && ls /dev/pts/ptmx"])
        .ok();
    volume.is_as_it_was();
    drop(container);
    volume.is_as_it_was();
}

#[test]
fn vm_the_hosts_dev_is_the_containers() {
    let runtime = Runtime::of_env();
    let names = || -> Vec<_> {
        let mut names: Vec<_> =
            fs::read_dir("/dev").expect("list").map(|e| e.expect("one").file_name()).collect();
        names.sort_unstable();
        names
    };
    let before = names();
    let bundle = bundle(&runtime, "/dev");
    let container = runtime.start(&bundle);
    let listed = container.exec(&[], &["ls", "-a", "/dev"]).ok();
    assert_eq!(listed.lines().filter(|name| !matches!(*name, "." | "..")).count(), before.len());
    drop(container);
    assert_eq!(names(), before);
    assert!(fs::metadata("/dev/null").expect("stat").mode() & 0o777 == 0o666);
}

/// The terminal lies at `/dev/console` of the volume, whose own device stays below it.
#[test]
fn vm_a_terminal_in_a_volume_at_dev() {
    let (runtime, volume) = (Runtime::of_env(), Volume::new());
    terminal(&runtime, &bundle(&runtime, volume.dir.str()));
    assert!(volume.dir.0.join("console").metadata().expect("stat").is_file());
}

/// As Docker has it: nothing is mounted below.
#[test]
fn vm_a_terminal_in_the_hosts_dev() {
    let runtime = Runtime::of_env();
    let bundle = bundle(&runtime, "/dev");
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| !mount["destination"].as_str().expect("a path").starts_with("/dev/"));
    });
    terminal(&runtime, &bundle);
}

/// Starts a container with a terminal, which is also its console.
#[track_caller]
fn terminal(runtime: &Runtime, bundle: &Bundle) {
    let dir = TempDir::new("console");
    bundle.edit(|config| {
        config["process"]["terminal"] = Value::Bool(true);
        config["process"]["args"] = json!([
            "sh",
            "-c",
            "test -t 0 && ls -lL /proc/self/fd/0 /dev/console > /tmp/is-one; exec sleep 1000"
        ]);
        config["root"]["readonly"] = Value::Bool(false);
        // runc opens the host's console there.
        config["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "rwm" }]);
    });
    let socket = dir.0.join("socket");
    let _terminal = UnixListener::bind(&socket).expect("bind");
    let container = runtime.container(unique_name("console"));
    let create = [
        "create",
        "--console-socket",
        socket.to_str().expect("ASCII"),
        "--bundle",
        bundle.str(),
        &container.id,
    ];
    runtime.cmd(&create).run().ok();
    container.call("start", &[]).ok();
    let table = container.exec(&[], &["cat", "/proc/mounts"]).ok();
    assert!(mounted(&table).contains(&("/dev/console".to_owned(), "devpts".to_owned())), "{table}");
    let is_one = bundle.path().join("rootfs/tmp/is-one");
    let found = sharedroot_tests::lab::wait_for("it has a terminal", || {
        fs::read_to_string(&is_one).ok().filter(|text| text.lines().count() == 2)
    });
    // Major and minor number of a pty.
    let numbers = |line: &str| line.split_whitespace().skip(4).take(2).collect::<String>();
    let numbers: Vec<_> = found.lines().map(numbers).collect();
    assert!(numbers[0].starts_with("136,") && numbers[0] == numbers[1], "{found}");
}

/// In memory, as podman has it with `--read-only-tmpfs=false`, and a volume.
#[test]
fn vm_a_read_only_dev() {
    let (runtime, volume) = (Runtime::of_env(), Volume::new());
    // runc makes no mount points in a read-only volume.
    for name in ["mqueue", "pts", "shm"] {
        fs::create_dir(volume.dir.0.join(name)).expect("mkdir");
    }
    for in_memory in [true, false] {
        let bundle = bundle(&runtime, volume.dir.str());
        bundle.edit(|config| {
            let dev = &mut config["mounts"][0];
            if in_memory {
                *dev = json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"] });
            }
            dev["options"].as_array_mut().expect("options").push(json!("ro"));
        });
        let container = runtime.start(&bundle);
        let script =
            "grep ' /dev ' /proc/mounts; echo x > /dev/null && echo null; touch /dev/x /dev/shm/x";
        let seen = container.exec(&[], &["sh", "-c", script]).fails(1);
        let line = seen.lines().find(|line| line.contains(" /dev ")).expect("a mount at /dev");
        assert!(line.contains(" ro,"), "{in_memory}: {seen}");
        assert!(seen.contains("null\n") && seen.contains("/dev/x: Read-only"), "{seen}");
        assert!(!seen.contains("/dev/shm/x:"), "{seen}");
    }
    volume.is_as_it_was();
}
