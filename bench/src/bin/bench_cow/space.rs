//! The space that an arm's containers and images use.

use std::fs;
use std::ops::{Add, Div, Sub};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use sharedroot_tests::command::{out, run};

use crate::arm::{Arm, Driver, WRITTEN};

/// Bytes. The difference between two states may be negative.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Space {
    pub data: i64,
    pub metadata: i64,
}

/// The used space of an arm at one moment.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Look {
    /// The pool, or the whole file system of btrfs.
    pub store: Space,
    /// The directories of overlay2's driver.
    pub layers: Space,
}

/// Inodes of ext4, whose tables are made with the file system (`mke2fs.conf`, `inode_size`).
const INODE: i64 = 256;

impl Look {
    /// The used space, after everything is written to the disk, and deleted files are gone.
    pub fn at(arm: &Arm, containers: &[String], images: &[String]) -> Self {
        out(&["sync"]);
        let mut look = Self::default();
        match &arm.driver {
            Driver::Pool => look.store = pool(),
            Driver::Overlay2 => {}
            Driver::Btrfs { mounted } => {
                look.store = btrfs(mounted);
                return look;
            }
        }
        for (kind, names) in [("container", containers), ("image", images)] {
            for dir in directories(arm, kind, names) {
                look.layers = look.layers + walk(&dir);
            }
        }
        look
    }

    pub fn whole(&self) -> Space {
        self.store + self.layers
    }

    /// Panics if the space is less than `containers` containers have written, because then something else was measured.
    pub fn must_hold(self, what: &str, containers: i64) -> Self {
        let (found, written) = (self.whole().data, containers * WRITTEN);
        assert!(found >= written, "{what}: {found} bytes, less than the {written} written");
        self
    }
}

/// The figures of `sharedroot pool status`.
fn pool() -> Space {
    let status = run(&["sharedroot", "pool", "status", "--json"]).json();
    let used = |part: &Value| part["used_bytes"].as_i64().expect("the pool is active");
    Space { data: used(&status["data"]), metadata: used(&status["metadata"]) }
}

/// One copy of the metadata, where btrfs keeps two.
fn btrfs(mounted: &str) -> Space {
    // btrfs removes a deleted subvolume in the background.
    out(&["btrfs", "subvolume", "sync", mounted]);
    out(&["btrfs", "filesystem", "sync", mounted]);
    let uuid = out(&["findmnt", "--noheadings", "--output", "UUID", mounted]);
    let used = |kind: &str| -> i64 {
        let path = format!("/sys/fs/btrfs/{uuid}/allocation/{kind}/bytes_used");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path}: {e}"));
        text.trim().parse().expect("a number of bytes")
    };
    Space { data: used("data"), metadata: used("metadata") + used("system") }
}

/// The files of overlay2's driver for containers, or for the top layers of images.
fn directories(arm: &Arm, kind: &str, names: &[String]) -> Vec<PathBuf> {
    if names.is_empty() {
        return Vec::new();
    }
    let (kind, format) = (format!("--type={kind}"), "--format={{.GraphDriver.Data.UpperDir}}");
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let uppers = arm.docker(&[&["inspect", &kind, format], &names[..]].concat());
    let of = |upper: &str| {
        let dir = Path::new(upper).parent().expect("a directory of the layer's");
        // A container's own first layer, with the files that Docker mounts over.
        [dir.to_owned(), PathBuf::from(format!("{}-init", dir.display()))]
    };
    uppers.lines().flat_map(of).filter(|dir| dir.exists()).collect()
}

/// The space of a tree: blocks of files are data; blocks of directories, and inodes, are metadata. Leaves out other file
/// systems.
fn walk(dir: &Path) -> Space {
    let device = fs::symlink_metadata(dir).expect("look at a layer").dev();
    let (mut space, mut todo) = (Space::default(), vec![dir.to_owned()]);
    while let Some(path) = todo.pop() {
        let meta =
            fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        if meta.dev() != device {
            continue;
        }
        // stat(2): always in units of 512 bytes.
        let blocks = meta.blocks() as i64 * 512;
        space.metadata += INODE;
        if meta.is_dir() {
            space.metadata += blocks;
            let entries = fs::read_dir(&path).expect("list a directory");
            todo.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else {
            space.data += blocks;
        }
    }
    space
}

impl Add for Space {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { data: self.data + other.data, metadata: self.metadata + other.metadata }
    }
}

impl Sub for Space {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { data: self.data - other.data, metadata: self.metadata - other.metadata }
    }
}

impl Sub for Look {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { store: self.store - other.store, layers: self.layers - other.layers }
    }
}

/// Divides the space of several containers by their number.
impl Div<i64> for Look {
    type Output = Self;

    fn div(self, number: i64) -> Self {
        let part = |s: Space| Space { data: s.data / number, metadata: s.metadata / number };
        Self { store: part(self.store), layers: part(self.layers) }
    }
}
