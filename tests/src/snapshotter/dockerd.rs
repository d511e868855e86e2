//! A Docker daemon on the snapshotter.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::command::{Cmd, Output, out};
use crate::docker::bring;
use crate::lab::{TempDir, wait_for};

/// The beginning of the name of the data directory of a daemon; its snapshotter's name follows.
pub const DATA: &str = "/var/lib/docker-on";

/// A Docker daemon with containerd's image store, beside the lab's own.
#[derive(Debug)]
pub struct Dockerd {
    /// A directory for what a test makes.
    pub dir: TempDir,
    data: String,
    process: Child,
}

impl Dockerd {
    /// A daemon on this snapshotter.
    #[track_caller]
    pub fn on(snapshotter: &str) -> Self {
        let dir = TempDir::new("dockerd");
        let at = |name: &str| dir.0.join(name).to_str().expect("ASCII").to_owned();
        let data = format!("{DATA}-{snapshotter}");
        let selinux = Path::new("/sys/fs/selinux/enforce").exists();
        fs::create_dir_all(&data).expect("make the data directory");
        if selinux {
            out(&["chcon", "--reference=/var/lib/docker", &data]);
        }
        let config = json!({
            "data-root": data,
            "exec-root": at("exec"),
            "pidfile": at("pid"),
            "hosts": [format!("unix://{}", at("socket"))],
            "containerd": "/run/containerd/containerd.sock",
            "containerd-namespace": snapshotter,
            "containerd-plugins-namespace": format!("{snapshotter}-plugins"),
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "iptables": false, "ip6tables": false, "bridge": "none",
            "selinux-enabled": selinux,
            "features": { "containerd-snapshotter": true },
            "storage-driver": snapshotter,
            "runtimes": { "sharedroot": { "path": "/usr/local/bin/sharedroot" }, "other": { "path": "/usr/local/bin/sharedroot" } },
        });
        fs::write(at("config"), config.to_string()).expect("write a configuration");
        let log = File::create(at("log")).expect("make a log");
        let mut dockerd = Command::new("dockerd");
        dockerd.args(["--config-file", &at("config")]).stdin(Stdio::null());
        let process = dockerd.stdout(Stdio::null()).stderr(log).spawn().expect("start dockerd");
        let dockerd = Self { dir, data, process };
        wait_for("dockerd answers", || (dockerd.docker(&["version"]).status == 0).then_some(()));
        let driver = dockerd.docker(&["info", "--format", "{{.Driver}}"]).ok();
        assert_eq!(driver, snapshotter);
        dockerd
    }

    /// `docker WORDS…` of this daemon.
    pub fn docker(&self, words: &[&str]) -> Output {
        let host = format!("unix://{}", self.dir.0.join("socket").display());
        Cmd::new("docker").args(&["--host", &host]).args(words).run()
    }

    /// Brings an image of the lab's daemon here.
    #[track_caller]
    pub fn load(&self, image: &str) {
        bring(image, &self.dir, |words| self.docker(words));
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.0.join("log")).unwrap_or_default();
            eprintln!(
                "dockerd: {}",
                &log[log.floor_char_boundary(log.len().saturating_sub(4000))..]
            );
        }
        let _ = Cmd::new("kill").arg(&self.process.id().to_string()).run();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}
