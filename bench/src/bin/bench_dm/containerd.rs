//! containerd's devmapper snapshotter, driven through `ctr`: a daemon of our own on a third pool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sharedroot_bench::Clock;
use sharedroot_bench::Times;
use sharedroot_tests::lab::wait_for;

use crate::cycles::{Arm, Ready};
use crate::filesystem;
use crate::mounts;
use crate::place::{Place, text};

const POOL: &str = "bench-containerd";
const SOCKET: &str = "/run/bench-containerd/containerd.sock";
const DEVMAPPER: &str = "io.containerd.snapshotter.v1.devmapper";

/// The running daemon.
#[derive(Debug)]
pub struct Containerd {
    daemon: Child,
    mounts: PathBuf,
}

impl Containerd {
    pub fn new(place: &Place, tree: &Path) -> Self {
        place.make_pool(POOL);
        let dir = place.dir("containerd");
        let (config, log) = (dir.join("config.toml"), dir.join("log"));
        fs::write(&config, configuration(&dir)).expect("write containerd's configuration");
        let log = fs::File::create(log).expect("a log");
        let daemon = Command::new("containerd")
            .args(["--config", text(&config)])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("duplicate a descriptor"))
            .stderr(log)
            .spawn()
            .expect("start containerd");
        wait_for("containerd answers", || {
            let asked = Command::new("ctr").args(["--address", SOCKET, "version"]).output();
            asked.expect("start ctr").status.success().then_some(())
        });
        let containerd = Self { daemon, mounts: place.dir("mnt-containerd") };
        containerd.make_base(tree);
        containerd
    }

    /// The base: an empty snapshot (containerd makes its file system), filled and committed.
    fn make_base(&self, tree: &Path) {
        let at = self.mounts.join("base");
        fs::create_dir_all(&at).expect("a mount point");
        mount(&snapshots(&["prepare", "--target", text(&at), "filling", ""]), &at);
        filesystem::fill(tree, &at);
        mounts::unmount(&at);
        snapshots(&["commit", "base", "filling"]);
    }

    /// The time of a ctr process that only asks the daemon for its version.
    pub fn call_alone(&self, rounds: usize) -> Times {
        let mut times = Times::default();
        for _ in 0..rounds {
            let mut clock = Clock::default();
            clock.step("version", || ctr(&["version"]));
            times.push(clock.total());
        }
        times
    }

    /// Ends the daemon, so that it does not disturb the other phases.
    pub fn stop(mut self) {
        self.daemon.kill().expect("kill containerd");
        self.daemon.wait().expect("wait for containerd");
    }
}

/// containerd deletes a snapshot's volume in its garbage collection; with a threshold of 1 that follows every removal.
fn configuration(dir: &Path) -> String {
    let dir = text(dir);
    format!(
        r#"version = 2
root = "{dir}/root"
state = "/run/bench-containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.gc.v1.scheduler"]
  deletion_threshold = 1
[plugins."{DEVMAPPER}"]
  root_path = "{dir}/devmapper"
  pool_name = "{POOL}"
  base_image_size = "10GB"
  async_remove = false
"#
    )
}

/// Runs ctr with this daemon, and returns its standard output.
fn ctr(words: &[&str]) -> String {
    let output = Command::new("ctr").args(["--address", SOCKET]).args(words).output();
    let output = output.expect("start ctr");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ctr {words:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn snapshots(words: &[&str]) -> String {
    ctr(&[&["snapshots", "--snapshotter", "devmapper"], words].concat())
}

/// Mounts what ctr printed: `mount -t ext4 DEVICE TARGET -o OPTIONS`.
fn mount(line: &str, at: &Path) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["mount", "-t", "ext4", device, _, "-o", options @ ..] = words.as_slice() else {
        panic!("ctr printed {line:?}");
    };
    assert!(options.is_empty(), "containerd wants other mount options: {options:?}");
    mounts::default(Path::new(device), at);
}

impl Arm for Containerd {
    fn name(&self) -> &'static str {
        "containerd"
    }

    fn pool(&self) -> String {
        POOL.to_owned()
    }

    fn ready(&mut self, number: usize, until: Ready, clock: &mut Clock) {
        let (key, at) = (format!("private-{number}"), self.mounts.join(number.to_string()));
        fs::create_dir_all(&at).expect("a mount point");
        let line = clock.step("snapshot + activate", || {
            snapshots(&["prepare", "--target", text(&at), &key, "base"])
        });
        if until == Ready::Mounted {
            clock.step("mount", || mount(&line, &at));
        }
    }

    fn delete(&mut self, number: usize, until: Ready, clock: &mut Clock) {
        let key = format!("private-{number}");
        if until == Ready::Mounted {
            clock.step("unmount", || mounts::unmount(&self.mounts.join(number.to_string())));
        }
        clock.step("deactivate + delete", || snapshots(&["rm", &key]));
        // Wait for the garbage collection, so that it does not disturb the next arm. Only this snapshot is active.
        wait_for("containerd deleted the snapshot", || {
            let names = sharedroot_tests::command::out(&["dmsetup", "ls"]);
            (!names.contains(&format!("{POOL}-snap-"))).then_some(())
        });
    }
}
