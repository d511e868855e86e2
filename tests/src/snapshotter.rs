//! The snapshotter as a process of the test, and containerd with it.

mod dockerd;
mod suite;
mod task;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::command::{Cmd, Output};
use crate::engines::has_containerd_2;
use crate::lab::{Replaced, only_in_lab, wait_for};
use crate::pool::CONFIG;
use crate::shim::without_containerd;

pub use dockerd::Dockerd;
pub use suite::all_tests_pass;
pub use task::{IMAGE, Task, bases, import};

/// The program beside the test's executable, and where it is installed.
const PROGRAM: [&str; 2] = ["/share/sharedrootd", "/usr/local/bin/sharedrootd"];
/// The snapshotter's socket.
pub const SOCKET: &str = "/run/sharedroot/snapshotter.sock";
/// Everything that the snapshotter says, with each call.
pub const LOG: &str = "/var/log/sharedrootd.log";
/// containerd's configuration.
const CONTAINERD: &str = "/etc/containerd/config.toml";

/// containerd 2 unpacks images only by the snapshotters that this names, and for their platforms (docs/snapshotter.md).
const UNPACK: &str = r#"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "linux/amd64"
snapshotter = "overlayfs"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "linux/amd64"
snapshotter = "sharedroot"
"#;

/// Installs the program.
#[track_caller]
pub fn install_program() {
    only_in_lab();
    if !Path::new(PROGRAM[1]).exists() {
        fs::copy(PROGRAM[0], PROGRAM[1]).expect("copy it; hack/build --snapshotter makes it");
        fs::set_permissions(PROGRAM[1], Permissions::from_mode(0o755)).expect("chmod it");
    }
}

/// A running snapshotter. Dropping this value kills it.
#[derive(Debug)]
pub struct Snapshotter(Child);

impl Snapshotter {
    /// Starts the snapshotter, and waits until it answers.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&["--docker", &format!("{}-sharedroot", dockerd::DATA)])
    }

    /// The same, with these words on its command line.
    #[track_caller]
    pub fn start_with(words: &[&str]) -> Self {
        install_program();
        let log = File::options().append(true).create(true).open(LOG).expect("open the log");
        let child = Command::new(PROGRAM[1])
            .args(["--debug", "--address", SOCKET])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let mut snapshotter = Self(child.expect("start the snapshotter"));
        wait_for("the snapshotter listens", || {
            let ended = snapshotter.0.try_wait().expect("wait for a child");
            assert!(ended.is_none(), "{ended:?}: {}", said());
            UnixStream::connect(SOCKET).ok()
        });
        snapshotter
    }

    /// Kills the snapshotter and starts another one.
    #[track_caller]
    pub fn kill_and_start(&mut self) {
        self.0.kill().expect("kill the snapshotter");
        self.0.wait().expect("wait for the snapshotter");
        *self = Self::start();
        is_reached();
    }
}

/// Waits until containerd calls a new snapshotter: it waits a second or more before it connects again.
#[track_caller]
pub fn is_reached() {
    let list = ["snapshots", "--snapshotter", "sharedroot", "ls"];
    wait_for("containerd calls the snapshotter", || {
        (Cmd::new("ctr").args(&list).run().status == 0).then_some(())
    });
}

impl Drop for Snapshotter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        if std::thread::panicking() {
            eprintln!("the snapshotter said: {}", said());
        }
    }
}

/// The last part of the log.
fn said() -> String {
    let text = fs::read_to_string(LOG).unwrap_or_default();
    text[text.floor_char_boundary(text.len().saturating_sub(8000))..].to_owned()
}

/// With a guest that has devices for a pool, the configuration that puts the pool on them.
#[track_caller]
pub fn on_devices() -> Option<Replaced> {
    let device = |name| std::env::var(name).ok();
    let (data, metadata) = (device("LAB_DATA_DEV")?, device("LAB_METADATA_DEV")?);
    let pool = format!("[pool]\ndata_dev = \"{data}\"\nmetadata_dev = \"{metadata}\"\n");
    let config = Replaced::with(CONFIG, &pool);
    crate::command::out(&["sharedroot", "pool", "create"]);
    Some(config)
}

/// containerd that knows the snapshotter. Dropping this value gives the guest its containerd back.
#[derive(Debug)]
pub struct Containerd(Option<Replaced>);

impl Containerd {
    /// Restarts containerd with the snapshotter `sharedroot`.
    #[track_caller]
    pub fn with_snapshotter() -> Self {
        let version = if has_containerd_2() { 3 } else { 2 };
        let text = format!("version = {version}\n{}", proxy_plugin());
        let mut config = None;
        without_containerd(|| config = Some(Replaced::with(CONTAINERD, &text)));
        is_listed();
        Self(config)
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            without_containerd(|| self.0 = None);
        }
    }
}

/// The tables of containerd's configuration that name the snapshotter `sharedroot`.
#[must_use]
pub fn proxy_plugin() -> String {
    let unpack = if has_containerd_2() { UNPACK } else { "" };
    format!("[proxy_plugins.sharedroot]\ntype = \"snapshot\"\naddress = \"{SOCKET}\"\n{unpack}")
}

/// Waits until containerd has the snapshotter.
#[track_caller]
pub fn is_listed() {
    wait_for("containerd lists the snapshotter", || {
        let plugins = Cmd::new("ctr").args(&["plugins", "ls"]).run().stdout;
        let ours = plugins.lines().find(|line| line.contains("sharedroot"))?;
        ours.trim_end().ends_with("ok").then_some(())
    });
}

/// `ctr snapshots --snapshotter sharedroot WORDS…`
#[track_caller]
pub fn snapshots(words: &[&str]) -> Output {
    Cmd::new("ctr").args(&["snapshots", "--snapshotter", "sharedroot"]).args(words).run()
}

/// The keys and names of all snapshots in ctr's namespace, with their kinds.
#[track_caller]
pub fn list() -> Vec<(String, String)> {
    let list = snapshots(&["ls"]).ok();
    let rows = list.lines().skip(1).map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        (words[0].to_owned(), words[words.len() - 1].to_owned())
    });
    rows.collect()
}

/// Makes containerd collect its garbage, and waits for it: only then it removes snapshots from the snapshotter.
#[track_caller]
pub fn collect() {
    let lease = crate::command::unique_name("lease");
    for words in [&["create", "--id", &lease][..], &["rm", "--sync", &lease]] {
        Cmd::new("ctr").arg("leases").args(words).run().ok();
    }
}
