//! What the tests of this folder share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use sharedroot_format::{BaseKey, ChainId, Owner};

use crate::image::Image;
use crate::init_layer::InitFiles;
use crate::source::Source;
use crate::top::Top;

/// A directory of one test, removed with this value.
pub(super) struct TestDir(PathBuf);

impl TestDir {
    pub(super) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sharedroot-image-{}-{number}", std::process::id());
        let path = fs::canonicalize(std::env::temp_dir()).unwrap().join(name);
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

    /// Makes a directory, and those above it.
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

/// For a test that mounts: not being root is a failure, not a skip.
pub(super) fn need_root() {
    assert!(nix::unistd::geteuid().is_root(), "this test mounts; run it with hack/test");
}

pub(super) fn chain(digit: char) -> ChainId {
    format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
}

/// An image of these layers, as if Docker had named them.
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

/// Runs a shell script, which must succeed; its standard output.
pub(super) fn shell(script: &str, args: &[&Path]) -> String {
    let output = Command::new("sh").args(["-euc", script, "sh"]).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{text}{error}");
    text
}
