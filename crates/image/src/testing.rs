//! What the tests of this crate share.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use sharedroot_format::{BaseKey, ChainId, Owner};
use sharedroot_sys::mount;

use crate::count::open_beneath;
use crate::ext4::make_filesystem;
use crate::image::Image;
use crate::init_layer::{self, InitFiles};
use crate::source::Source;
use crate::top::Top;
use crate::tree::assemble;

/// A directory of one test, removed with this value.
pub(super) struct TestDir(PathBuf);

impl TestDir {
    pub(super) fn new() -> Self {
        Self::below(&fs::canonicalize(std::env::temp_dir()).unwrap())
    }

    /// A directory in a tmpfs.
    pub(super) fn in_memory() -> Self {
        Self::below(Path::new("/dev/shm"))
    }

    fn below(above: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sharedroot-image-{}-{number}", std::process::id());
        let path = above.join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and the directories above it.
    pub(super) fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self
            .dir(Path::new(path).parent().unwrap().to_str().unwrap())
            .join(Path::new(path).file_name().unwrap());
        fs::write(&path, text).unwrap();
        path
    }

    /// Makes a directory and its parents.
    pub(super) fn dir(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Checks that a test that mounts runs as root. Without root the test fails; it is never skipped.
pub(super) fn need_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test mounts; run it with hack/test");
}

pub(super) fn chain(digit: char) -> ChainId {
    format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
}

/// An image with these layers, as found in Docker's layer database.
pub(super) fn image(layers: Vec<PathBuf>) -> Image {
    Image {
        key: BaseKey::of_chain(&chain('a'), None),
        chain_id: Some(chain('a')),
        layers,
        upper: None,
        init: InitFiles::AsDocker,
        top: Top { owner: Owner::ROOT, mode: 0o755 },
        source: Source::Docker { layer: "/layerdb".into() },
    }
}

/// Runs the body of the test `name` in a process of its own, whose memory is that of this test alone.
pub(super) fn alone(name: &str, body: impl FnOnce()) {
    const ALONE: &str = "SHAREDROOT_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return body();
    }
    let mut test = Command::new(std::env::current_exe().unwrap());
    let output = test.args(["--exact", name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{error}");
}

/// The most memory that this process has had since the last call, in bytes (proc(5), `clear_refs` and `VmHWM`).
pub(super) fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    fs::write("/proc/self/clear_refs", "5").unwrap();
    kib << 10
}

/// Makes `count` empty directories below a path of some 1,950 bytes, which has seven directories.
pub(super) fn below_a_long_path(top: &Path, count: usize) {
    let above = top.join(vec!["d".repeat(250); 7].join("/")).join("e".repeat(190));
    fs::create_dir_all(&above).unwrap();
    let dir = fs::File::open(&above).unwrap();
    for n in 0..count {
        rustix::fs::mkdirat(&dir, format!("{n:05}"), rustix::fs::Mode::RWXU).unwrap();
    }
}

/// Makes Docker's init layer above these layers in `dir`, as Docker does: through an overlay.
pub(super) fn docker_init_layer(dir: &TestDir, name: &str, layers: &[PathBuf]) -> PathBuf {
    let upper = dir.dir(name);
    let mount = mount::overlay(layers, &upper, &dir.dir("init-work")).unwrap();
    let root = open_beneath(mount.as_fd(), Path::new(".")).unwrap();
    init_layer::make(root.as_fd(), InitFiles::AsDocker, Owner::ROOT).unwrap();
    upper
}

/// Runs a shell script, which must succeed. Returns its standard output.
pub(super) fn shell(script: &str, args: &[&Path]) -> String {
    let output = Command::new("sh").args(["-euc", script, "sh"]).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{text}{error}");
    text
}

/// The size of a test's file system, in bytes.
pub(super) const SIZE: u64 = 256 << 20;
/// The size where a test makes many file systems, in bytes.
pub(super) const SMALL: u64 = 32 << 20;

/// Makes a regular file that serves as the device, full of the data of an earlier volume.
pub(super) fn dirty_device(dir: &TestDir, name: &str, size: u64) -> PathBuf {
    let device = dir.path().join(name);
    let pattern = [0xAA_u8, 0x5B, 0xF3, 0x01].repeat(1 << 18);
    let mut content = Vec::new();
    while (content.len() as u64) < size.min(SIZE) {
        content.extend_from_slice(&pattern);
    }
    fs::write(&device, content).unwrap();
    fs::File::options().write(true).open(&device).unwrap().set_len(size).unwrap();
    device
}

pub(super) fn key() -> BaseKey {
    BaseKey::of_chain(&chain('a'), None)
}

/// Makes a base of these layers, checks it, mounts it read-only and runs a script in it.
pub(super) fn make_and_look(dir: &TestDir, layers: Vec<PathBuf>, script: &str) -> String {
    let device = dirty_device(dir, "device", SIZE);
    let mut image = image(layers);
    image.top.mode = 0o1705;
    let tree = assemble(&image, &dir.path().join("making")).unwrap();
    make_filesystem(&tree, &key(), &device, SIZE).unwrap();
    shell("e2fsck -fn \"$1\" 2>&1", &[&device]);
    let at = dir.dir("mnt");
    let script = format!(
        "exec 2>&1; unshare -m sh -euc 'mount -o ro,noload,loop \"$1\" \"$2\"; cd \"$2\"; {script}' sh \"$1\" \"$2\""
    );
    shell(&script, &[&device, &at])
}
