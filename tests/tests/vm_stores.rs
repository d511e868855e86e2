//! Images of stores other than the daemon's usual one, and images that move, go and come back.
//!
//! Guest: --limit 800 --shim long

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{Cmd, Output, out, unique_name};
use sharedroot_tests::docker::{Container, FreshImage, bring, docker, docker_run, is_released};
use sharedroot_tests::documented::{self, images};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::{RUN_DIR, Replaced, TempDir, only_in_lab, wait_for};
use sharedroot_tests::runtime::Runtime;

/// The base that a record names.
fn key_of(record: &Value) -> String {
    record["rootfs"]["base"].as_str().unwrap_or_else(|| panic!("no base: {record}")).to_owned()
}

/// A Docker daemon beside the lab's own, with a data root of its own.
struct Dockerd {
    dir: TempDir,
    data_root: PathBuf,
    containerd_store: bool,
    process: Child,
}

impl Dockerd {
    fn new(containerd_store: bool) -> Self {
        only_in_lab();
        let dir = TempDir::new("dockerd");
        let data_root = dir.0.join("data");
        let process = Self::start(&dir.0, &data_root, containerd_store);
        let dockerd = Self { dir, data_root, containerd_store, process };
        dockerd.is_up();
        dockerd
    }

    fn start(dir: &Path, data_root: &Path, containerd_store: bool) -> Child {
        let at = |name: &str| dir.join(name).to_str().expect("ASCII").to_owned();
        let mut config = json!({
            "data-root": data_root,
            "exec-root": at("exec"),
            "pidfile": at("pid"),
            "hosts": [format!("unix://{}", at("socket"))],
            "containerd": "/run/containerd/containerd.sock",
            "containerd-namespace": "other",
            "containerd-plugins-namespace": "other-plugins",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "iptables": false, "ip6tables": false, "bridge": "none",
            "features": { "containerd-snapshotter": containerd_store },
            "runtimes": { "sharedroot": { "path": "/usr/local/bin/sharedroot" } },
        });
        if !containerd_store {
            config["storage-driver"] = "overlay2".into();
        }
        fs::write(at("config"), config.to_string()).expect("write a configuration");
        let log = fs::File::create(at("log")).expect("make a log");
        let mut dockerd = Command::new("dockerd");
        dockerd.args(["--config-file", &at("config")]).stdin(Stdio::null());
        dockerd.stdout(Stdio::null()).stderr(log).spawn().expect("start dockerd")
    }

    fn docker(&self, words: &[&str]) -> Output {
        let host = format!("unix://{}", self.dir.0.join("socket").display());
        Cmd::new("docker").args(&["--host", &host]).args(words).run()
    }

    #[track_caller]
    fn is_up(&self) {
        wait_for("dockerd answers or ends", || {
            (self.docker(&["version"]).status == 0).then_some(()).or_else(|| {
                let log = fs::read_to_string(self.dir.0.join("log")).unwrap_or_default();
                log.contains("unable to configure").then(|| panic!("{log}"))
            })
        });
    }

    fn stop(&mut self) {
        out(&["kill", &self.process.id().to_string()]);
        let _ = self.process.wait();
    }

    /// Brings an image of the lab's daemon here.
    #[track_caller]
    fn load(&self, image: &str) {
        bring(image, &self.dir, |words| self.docker(words));
    }

    /// `docker run` of a container that sleeps, and its record.
    #[track_caller]
    fn run(&self, flags: &[&str], image: &str) -> (String, Value) {
        let run = ["run", "--detach", "--network=none", "--runtime=sharedroot"];
        let id = self.docker(&[&run, flags, &[image, "sleep", "1000"]].concat()).ok();
        let record = sharedroot_tests::docker::record(&id);
        (id, record)
    }

    #[track_caller]
    fn device_of(&self, id: &str) -> String {
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}", id]).ok();
        let root = root_of(pid.parse().expect("a pid"));
        assert!(root.is_on_dm() && root.fstype == "ext4", "{root:?}");
        root.device.to_string()
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        for id in self.docker(&["ps", "--all", "--quiet"]).stdout.lines() {
            self.docker(&["rm", "--force", id]);
        }
        self.stop();
    }
}

#[test]
fn vm_dockers_containerd_store_shares_images() {
    let dockerd = Dockerd::new(true);
    let image = FreshImage::new();
    dockerd.load(image.name());
    let (first, record) = dockerd.run(&["--read-only"], image.name());
    assert_eq!(record["rootfs"]["kind"], "shared", "{record}");
    let (second, other) = dockerd.run(&["--read-only"], image.name());
    assert_eq!(key_of(&record), key_of(&other));
    assert_eq!(dockerd.device_of(&first), dockerd.device_of(&second));
    let (third, private) = dockerd.run(&[], image.name());
    assert_eq!(
        (&private["rootfs"]["kind"], key_of(&private)),
        (&json!("private"), key_of(&record))
    );
    let unique = ["exec", &third, "cat", "/etc/unique", "/.dockerenv"];
    assert_eq!(dockerd.docker(&unique).ok(), image.name());
    // The image that is pulled again is another one in this store; the old base goes.
    dockerd.docker(&["rm", "--force", &first, &second, &third]).ok();
    out(&["sharedroot", "gc"]);
    let has = |key: &str| images().iter().any(|base| base["key"] == key);
    assert!(has(&key_of(&record)), "the image is still there");
    dockerd.docker(&["rmi", image.name()]).ok();
    wait_for("containerd has removed the layers", || {
        out(&["sharedroot", "gc"]).contains("its image is gone").then_some(())
    });
    assert!(!has(&key_of(&record)));
    dockerd.load(image.name());
    let (again, record) = dockerd.run(&["--read-only"], image.name());
    let unique = ["exec", &again, "cat", "/etc/unique"];
    assert_eq!(dockerd.docker(&unique).ok(), image.name(), "{record}");
}

/// containerd reads the upper directory, too, and unpacks what it made of it.
#[test]
fn vm_no_image_of_the_containerd_store_lacks_what_only_the_snapshot_holds() {
    let dockerd = Dockerd::new(true);
    let image = FreshImage::new();
    dockerd.load(image.name());
    let (id, _) = dockerd.run(&[], image.name());
    let pid = dockerd.docker(&["inspect", "--format", "{{.State.Pid}}", &id]).ok();
    let gone = format!("/proc/{pid}/root/gone");
    out(&["mknod", &gone, "c", "0", "0"]);
    let commit = || dockerd.docker(&["commit", &id, "committed"]);
    // Running, where the pause fails and Docker does not heed that, and stopped.
    let fails = || {
        let said = commit().fails(1);
        assert!(said.contains("invalid whiteout name: .wh."), "{said}");
    };
    fails();
    dockerd.docker(&["stop", "--time=0", &id]).ok();
    is_released(&id);
    fails();
    let differs = dockerd.docker(&["diff", &id]).ok();
    assert!(differs.contains("A /sharedroot: this tree lacks files"), "{differs}");
    dockerd.docker(&["rm", "--force", &id]).ok();
    out(&["sharedroot", "gc"]);
}

#[test]
fn vm_a_data_root_that_moves_keeps_its_images() {
    let mut dockerd = Dockerd::new(false);
    let image = FreshImage::new();
    dockerd.load(image.name());
    let (id, before) = dockerd.run(&["--read-only"], image.name());
    dockerd.docker(&["rm", "--force", &id]).ok();
    dockerd.stop();
    let moved = dockerd.dir.0.join("moved");
    fs::rename(&dockerd.data_root, &moved).expect("move the data root");
    dockerd.process = Dockerd::start(&dockerd.dir.0, &moved, dockerd.containerd_store);
    dockerd.is_up();
    let (id, after) = dockerd.run(&["--read-only"], image.name());
    assert_eq!(key_of(&before), key_of(&after));
    let unique = ["exec", &id, "cat", "/etc/unique"];
    assert_eq!(dockerd.docker(&unique).ok(), image.name());
    // Two daemons that have the same image share its base, too.
    let neighbour = Container::run(&["--read-only", image.name(), "sleep", "1000"]);
    assert_eq!(key_of(&neighbour.record()), key_of(&after));
}

#[test]
fn vm_an_image_that_comes_back_has_its_base_again() {
    let image = FreshImage::new();
    let (dir, name) = (TempDir::new("image"), image.name());
    let tar = dir.0.join("image.tar");
    let tar = tar.to_str().expect("ASCII");
    docker(&["save", "--output", tar, name]).ok();
    let container = Container::run(&["--read-only", name, "sleep", "1000"]);
    let key = key_of(&container.record());
    docker(&["rmi", "--force", name]).ok();
    assert!(!out(&["sharedroot", "gc"]).contains(&key[..12]), "a container uses the base");
    assert_eq!(container.exec(&["cat", "/etc/unique"]), name);
    drop(container);
    docker(&["image", "prune", "--force"]).ok();
    let has = || images().iter().any(|base| base["key"] == *key);
    let said = out(&["sharedroot", "gc", "--dry-run"]);
    assert!(said.contains(&format!("would delete the base {}", &key[..12])), "{said}");
    assert!(has(), "a dry run deletes nothing");
    let said = out(&["sharedroot", "gc"]);
    assert!(said.contains(&format!("deleted the base {}", &key[..12])), "{said}");
    assert!(!has());
    docker(&["load", "--input", tar]).ok();
    let container = Container::run(&["--read-only", name, "sleep", "1000"]);
    assert_eq!(key_of(&container.record()), key, "the same layers are the same image");
    assert_eq!(container.exec(&["cat", "/etc/unique"]), name);
}

#[test]
fn vm_a_base_that_is_being_made_is_waited_for_or_not() {
    let image = FreshImage::new();
    let run = ["--read-only", image.name(), "cat", "/etc/unique"];
    docker_run("sharedroot", &run).ok();
    let record = Container::run(&["--read-only", image.name(), "sleep", "1000"]).record();
    let key = key_of(&record);
    wait_for("the base is free", || {
        let removed = Cmd::new("sharedroot").args(&["image", "rm", &key]).run();
        (removed.status == 0).then_some(())
    });
    // Somebody is making it.
    let lock = format!("{RUN_DIR}/lock/base-{key}");
    let lock = fs::File::options().write(true).open(lock).expect("the lock");
    lock.lock().expect("lock it");
    let config = Replaced::with("/etc/sharedroot/config.toml", "[base]\nwait = false\n");
    for kind in [&["--read-only"][..], &[]] {
        let words = [kind, &[image.name(), "sleep", "1000"]].concat();
        let container = Container::run(&words);
        let rootfs = &container.record()["rootfs"];
        assert_eq!(rootfs["kind"], "not_shared");
        assert!(rootfs["why"].as_str().is_some_and(|why| why.contains("base.wait")), "{rootfs}");
        assert_eq!(container.exec(&["cat", "/etc/unique"]), image.name());
        let status = out(&["sharedroot", "status"]);
        assert!(status.contains("1 not shared") && status.contains("base.wait"), "{status}");
        let status = documented::json("status", &[]);
        assert_eq!(status["containers"]["not_shared"][0]["ids"][0], *container.id, "{status}");
    }
    drop(config);
    let name = unique_name("waits");
    let image_name = image.name();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let words = ["--name", &name, "--read-only", image_name, "cat", "/etc/unique"];
            docker_run("sharedroot", &words).ok()
        });
        wait_for("create waits for the lock", || {
            let locks = fs::read_to_string("/proc/locks").expect("read /proc/locks");
            locks.lines().any(|line| line.contains("->")).then_some(())
        });
        drop(lock);
        assert_eq!(waits.join().expect("a thread"), image_name);
    });
    assert!(images().iter().any(|base| base["key"] == *key));
}

#[test]
fn vm_a_base_is_a_root_by_its_own_path() {
    let image = FreshImage::new();
    let docker_container = Container::run(&["--read-only", image.name(), "sleep", "1000"]);
    let key = key_of(&docker_container.record());
    drop(docker_container);
    let runtime = Runtime::sharedroot();
    let at = format!("{RUN_DIR}/base/{key}");
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    bundle.edit(|config| config["root"] = json!({ "path": at, "readonly": true }));
    let containers = [runtime.start(&bundle), runtime.start(&bundle)];
    for container in &containers {
        let root = root_of(container.pid());
        assert!(root.is_on_dm() && root.has("ro"), "{root:?}");
        assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name());
    }
    docker(&["rmi", image.name()]).ok();
    assert!(!out(&["sharedroot", "gc"]).contains(&key[..12]), "containers use it");
    assert_eq!(containers[0].exec(&[], &["cat", "/etc/unique"]).ok(), image.name());
    // A writable one gets no snapshot, which would lie over everybody's base.
    let bundle = Bundle::new(&runtime, &["sh", "-c", "cat /etc/unique; : > /etc/new"]);
    bundle.edit(|config| config["root"] = json!({ "path": at }));
    let said = runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("writes")]).run();
    assert!(said.status != 0 && said.stdout == image.name(), "{said}");
    assert!(said.stderr.contains("Read-only file system"), "{said}");
}
