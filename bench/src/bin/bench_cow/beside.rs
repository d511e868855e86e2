//! The second daemon: Docker with its btrfs driver, configured as the lab's own otherwise.
//!
//! Only the driver's directory is on btrfs, as the driver allows. Everything else that a daemon writes for a container is on
//! the same ext4 as that of the other daemon, so that btrfs has only roots.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sharedroot_tests::command::{out, run};
use sharedroot_tests::docker::docker;
use sharedroot_tests::lab::{TempDir, wait_for};

/// The daemon's directory, on the disk of the lab's own Docker.
const DATA_ROOT: &str = "/var/lib/docker/beside";

/// The daemon. Dropping this value ends the daemon. Its disk ends with the guest.
pub struct Beside {
    dir: TempDir,
    process: Child,
}

impl Beside {
    pub fn start(device: String) -> Self {
        let dir = TempDir::new("beside");
        let at = |name: &str| format!("{}/{name}", dir.str());
        let driver = format!("{DATA_ROOT}/btrfs");
        fs::create_dir_all(&driver).expect("make the driver's directory");
        out(&["mkfs.btrfs", "--quiet", &device]);
        out(&["mount", "-t", "btrfs", &device, &driver]);

        let text = fs::read_to_string("/etc/docker/daemon.json").expect("read daemon.json");
        let mut config: Value = serde_json::from_str(&text).expect("daemon.json is JSON");
        for (key, value) in [
            ("storage-driver", json!("btrfs")),
            ("data-root", json!(DATA_ROOT)),
            ("exec-root", json!(at("exec"))),
            ("pidfile", json!(at("pid"))),
            ("hosts", json!([format!("unix://{}", at("socket"))])),
            ("containerd", json!("/run/containerd/containerd.sock")),
            ("containerd-namespace", json!("beside")),
            ("containerd-plugins-namespace", json!("beside-plugins")),
        ] {
            config[key] = value;
        }
        fs::write(at("config"), config.to_string()).expect("write a configuration");
        let log = File::create(at("log")).expect("make a log");
        let mut dockerd = Command::new("dockerd");
        dockerd.args(["--config-file", &at("config")]).stdin(Stdio::null()).stdout(Stdio::null());
        let process = dockerd.stderr(log).spawn().expect("start dockerd");
        let mut beside = Self { dir, process };
        beside.is_up();
        beside
    }

    fn is_up(&mut self) {
        let host = self.host();
        wait_for("the second dockerd answers", || {
            if self.process.try_wait().expect("wait for a child").is_some() {
                let log = format!("{}/log", self.dir.str());
                panic!("dockerd has ended: {}", fs::read_to_string(log).unwrap_or_default());
            }
            (run(&["docker", "--host", &host, "version"]).status == 0).then_some(())
        });
    }

    /// The address for `docker --host`.
    pub fn host(&self) -> String {
        format!("unix://{}/socket", self.dir.str())
    }

    /// The mount point of the driver's file system.
    pub fn driver(&self) -> String {
        format!("{DATA_ROOT}/btrfs")
    }

    /// Copies an image from the lab's daemon to this daemon.
    pub fn load(&self, image: &str) {
        let tar = format!("{}/image.tar", self.dir.str());
        docker(&["save", "--output", &tar, image]).ok();
        out(&["docker", "--host", &self.host(), "load", "--input", &tar]);
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        out(&["kill", &self.process.id().to_string()]);
        let _ = self.process.wait();
    }
}
