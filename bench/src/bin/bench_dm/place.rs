//! The benchmark's directory on one disk, and the pools of the arms that do not create their own.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sharedroot_dm::Bytes;
use sharedroot_tests::command::out;

/// The data file of every pool.
pub const DATA: Bytes = Bytes::gib(4);
/// The metadata file of every pool: room for thousands of mounted snapshots.
pub const METADATA: Bytes = Bytes::mib(128);
/// The data block of every pool.
pub const BLOCK: Bytes = Bytes::kib(64);
/// The size of every base, the runtime's default and that of Docker's devmapper driver.
pub const BASE: Bytes = Bytes::gib(10);

/// The benchmark's directory.
#[derive(Debug)]
pub struct Place(PathBuf);

impl Place {
    pub fn new() -> Self {
        let root = PathBuf::from("/var/lib/sharedroot/bench");
        fs::create_dir_all(&root).expect("a directory for the benchmark");
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).expect("a mode");
        Self(root)
    }

    /// A directory in the benchmark's directory. Creates it if it does not exist.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.0.join(name);
        fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("create {}: {e}", dir.display()));
        dir
    }

    /// Creates a thin pool called `name` as `dm/src/new_pool.rs` does: with sparse files, direct I/O, and an equal table.
    pub fn make_pool(&self, name: &str) {
        let dir = self.dir(name);
        let attach = |file: &str, size: Bytes| {
            let path = dir.join(file);
            File::create(&path).and_then(|f| f.set_len(size.0)).expect("a sparse file");
            out(&["losetup", "--find", "--show", "--direct-io=on", text(&path)])
        };
        let (data, metadata) = (attach("data", DATA), attach("metadata", METADATA));
        let low_water = DATA.0 / BLOCK.0 / 10;
        let table = format!(
            "0 {} thin-pool {metadata} {data} {} {low_water} 2 skip_block_zeroing error_if_no_space",
            sectors(DATA),
            sectors(BLOCK)
        );
        out(&["dmsetup", "create", name, "--table", &table]);
    }
}

/// A size in sectors of 512 bytes.
pub fn sectors(size: Bytes) -> u64 {
    size.0 / 512
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the benchmark's paths are ASCII")
}
