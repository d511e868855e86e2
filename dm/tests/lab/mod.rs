//! A pool for one test, in a directory of its own, and functions that check the result without the crate under test.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sharedroot_dm::{Backing, Bytes, Pool, PoolConfig, VolumeName};

/// A configuration. Dropping this value removes its pool and its directories.
pub(crate) struct Place {
    pub(crate) config: PoolConfig,
    root: PathBuf,
}

impl Place {
    /// Directories and a pool name for one test. Nothing is created in the kernel yet.
    pub(crate) fn new(test: &str) -> Self {
        privileged();
        let base = std::env::var_os("SHAREDROOT_TEST_DIR")
            .map_or("/var/lib/sharedroot-test".into(), PathBuf::from);
        let root = base.join(format!("{test}-{}", std::process::id()));
        fs::create_dir_all(&root).expect("a directory for the test");
        let place = Self { config: config(test, &root), root };
        std::fs::set_permissions(&place.root, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .expect("a mode");
        place
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.config.state_dir.join(format!("{}.data", self.config.name))
    }

    pub(crate) fn metadata(&self) -> PathBuf {
        self.config.state_dir.join(format!("{}.metadata", self.config.name))
    }

    pub(crate) fn device(&self) -> String {
        format!("sharedroot-{}", self.config.name)
    }

    /// A process of this binary that runs `act` on this place's pool.
    pub(crate) fn child(&self, act: &str) -> Child {
        Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
            .envs([("TEST_ACT", act), ("TEST_POOL", self.config.name.as_ref())])
            .env("TEST_ROOT", &self.root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child")
    }

    /// The configuration that a child's environment names, and what the child must do.
    pub(crate) fn of_child() -> (PoolConfig, String) {
        let get = |name| std::env::var(name).expect("only Place::child starts a child");
        (config(&get("TEST_POOL"), Path::new(&get("TEST_ROOT"))), get("TEST_ACT"))
    }

    /// The names of all dm devices of this pool.
    pub(crate) fn dm_devices(&self) -> Vec<String> {
        // Not `dmsetup info`, which asks for each device, and fails if another test removes a device meanwhile.
        let list = run("dmsetup", &["ls"]);
        let device = self.device();
        let ours = |name: &&str| {
            *name == device || name.strip_prefix(&device).is_some_and(|rest| rest.starts_with('-'))
        };
        list.lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(ours)
            .map(str::to_owned)
            .collect()
    }

    /// The thin ids in the pool's metadata, read from a metadata snapshot of the active pool.
    pub(crate) fn thin_ids(&self) -> BTreeSet<u32> {
        let device = self.device();
        let node = loop_of(&self.metadata()).expect("the metadata is on a loop device");
        run("dmsetup", &["message", &device, "0", "reserve_metadata_snap"]);
        let list = run("thin_ls", &["--metadata-snap", "--no-headers", "--format", "DEV", &node]);
        run("dmsetup", &["message", &device, "0", "release_metadata_snap"]);
        list.split_whitespace().map(|id| id.parse().expect("a thin id")).collect()
    }

    /// Does what a reset of the machine does: removes devices and loop devices, and deactivates nothing.
    pub(crate) fn reset(&self) {
        for device in self.dm_devices().iter().rev() {
            run("dmsetup", &["remove", "--retry", device]);
        }
        for file in [self.data(), self.metadata()] {
            if let Some(node) = loop_of(&file) {
                run("losetup", &["-d", &node]);
            }
        }
        fs::remove_dir_all(&self.config.run_dir).expect("the run directory is on a tmpfs");
    }

    /// Checks that the pool has neither dm devices nor loop devices.
    pub(crate) fn nothing_is_active(&self) {
        assert_eq!(self.dm_devices(), Vec::<String>::new());
        assert_eq!((loop_of(&self.data()), loop_of(&self.metadata())), (None, None));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Without the crate under test, because a failed test may have left anything.
        for _ in 0..2 {
            for device in self.dm_devices().iter().rev() {
                let _ = Command::new("dmsetup").args(["remove", "--retry", device]).output();
            }
        }
        for file in [self.data(), self.metadata()] {
            if let Some(node) = loop_of(&file) {
                let _ = Command::new("losetup").args(["-d", &node]).output();
            }
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn config(pool: &str, root: &Path) -> PoolConfig {
    let name = pool.parse().expect("a pool name");
    let mut config = PoolConfig::on_loop(name, root.join("state"), root.join("run"));
    config.backing = Backing::Loop { data: Bytes::mib(128), metadata: Bytes::mib(8) };
    config
}

/// Fails if device-mapper does not work. A test that is skipped would look like a test that passed. The node may exist without
/// device-mapper in the kernel.
fn privileged() {
    let usable = nix::unistd::geteuid().is_root() && File::open("/dev/mapper/control").is_ok();
    assert!(usable, "needs root and device-mapper: run it with `hack/test`");
}

pub(crate) fn name(text: &str) -> VolumeName {
    text.parse().expect("a volume name")
}

/// Runs a tool of the lab and returns what it printed.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}; run `hack/test`"));
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} {arguments:?}: {out}{err}");
    out.into_owned()
}

/// The loop device of a file.
pub(crate) fn loop_of(file: &Path) -> Option<String> {
    let output = Command::new("losetup")
        .args(["--noheadings", "--output", "NAME", "--associated"])
        .arg(file)
        .output();
    let nodes = String::from_utf8(output.expect("losetup").stdout).expect("text");
    nodes.split_whitespace().next().map(str::to_owned)
}

/// Writes `byte` over a part of a device, and flushes the device.
pub(crate) fn fill(device: &Path, offset: Bytes, length: Bytes, byte: u8) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(device)?;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(offset.0))?;
    let part = vec![byte; 1 << 16];
    for _ in 0..length.0.div_ceil(part.len() as u64) {
        file.write_all(&part)?;
    }
    file.sync_all()
}

/// One byte of a device.
pub(crate) fn byte(device: &Path, offset: Bytes) -> u8 {
    let mut one = [0];
    File::open(device)
        .and_then(|file| file.read_exact_at(&mut one, offset.0))
        .expect("a byte of the device");
    one[0]
}

/// Creates a sealed volume whose first MiB is full of `byte`.
pub(crate) fn base(pool: &Pool, volume: &str, byte: u8) {
    let new = pool.create_volume(&name(volume), Bytes::mib(16)).expect("a volume");
    fill(new.device(), Bytes(0), Bytes::mib(1), byte).expect("filled");
    new.seal().expect("sealed");
}

/// Waits for a child's next line.
pub(crate) fn line(child: &mut Child) -> String {
    let (mut text, mut one) = (String::new(), [0]);
    let out = child.stdout.as_mut().expect("a pipe");
    loop {
        let read = out.read(&mut one).expect("the child's output");
        if read == 0 {
            let mut err = String::new();
            let _ = child.stderr.as_mut().expect("a pipe").read_to_string(&mut err);
            panic!("the child ended after {text:?}: {err}");
        }
        if one[0] == b'\n' {
            // The harness prints lines of its own around those of `child`.
            match text.rsplit_once("child: ") {
                Some((_, said)) => return said.to_owned(),
                None => text.clear(),
            }
        } else {
            text.push(one[0] as char);
        }
    }
}
