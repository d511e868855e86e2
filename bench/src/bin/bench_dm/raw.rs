//! The arm to compare with: the calls of the kernel, one after another, without any record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sharedroot_bench::Clock;

use crate::cycles::{Arm, Ready};
use crate::discard::discard;
use crate::filesystem;
use crate::kernel::Kernel;
use crate::mounts;
use crate::place::{BASE, Place, sectors};

/// The thin id of the base; the snapshots have the ids above.
const BASE_ID: u32 = 0;

/// What a deletion does with a snapshot's blocks in the pool's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// The pool can use the blocks again, and its file keeps them.
    StaysInFile,
    /// A discard of the snapshot returns the blocks to the file system first, as sharedroot does for pools on loop files.
    Returned,
}

/// A pool that dmsetup made.
pub struct Raw {
    pub kernel: Kernel,
    pool: &'static str,
    number: String,
    space: Space,
    mounts: PathBuf,
    nodes: BTreeMap<usize, PathBuf>,
}

impl Raw {
    pub fn new(place: &Place, pool: &'static str, space: Space, tree: &Path) -> Self {
        place.make_pool(pool);
        let kernel = Kernel::new();
        let number = kernel.number(pool);
        let mounts = place.dir(&format!("mnt-{pool}"));
        let raw = Self { kernel, pool, number, space, mounts, nodes: BTreeMap::new() };
        let base = format!("{pool}-base");
        filesystem::make_as_we_do(&raw.make_thin(BASE_ID, &base), tree);
        raw.kernel.remove(&base);
        raw
    }

    /// A new thin volume of a base's size, active.
    pub fn make_thin(&self, id: u32, device: &str) -> PathBuf {
        self.kernel.message(self.pool, &format!("create_thin {id}"));
        self.activate(id, device)
    }

    /// A snapshot of `origin`, which is not active.
    pub fn snapshot(&self, id: u32, origin: u32) {
        self.kernel.message(self.pool, &format!("create_snap {id} {origin}"));
    }

    pub fn activate(&self, id: u32, device: &str) -> PathBuf {
        self.kernel.activate(device, sectors(BASE), &format!("{} {id}", self.number))
    }

    pub fn delete_thin(&self, id: u32) {
        self.kernel.message(self.pool, &format!("delete {id}"));
    }
}

impl Arm for Raw {
    fn name(&self) -> &'static str {
        match self.space {
            Space::StaysInFile => "raw",
            Space::Returned => "raw, with discard",
        }
    }

    fn pool(&self) -> String {
        self.pool.to_owned()
    }

    fn ready(&mut self, number: usize, until: Ready, clock: &mut Clock) {
        let (id, device) = (number as u32 + 1, format!("{}-{number}", self.pool));
        let at = self.mounts.join(number.to_string());
        std::fs::create_dir_all(&at).expect("a mount point");
        clock.step("snapshot", || self.snapshot(id, BASE_ID));
        let node = clock.step("activate", || self.activate(id, &device));
        if until == Ready::Mounted {
            clock.step("mount", || mounts::plain(&node, &at));
        }
        self.nodes.insert(number, node);
    }

    fn delete(&mut self, number: usize, until: Ready, clock: &mut Clock) {
        let (id, device) = (number as u32 + 1, format!("{}-{number}", self.pool));
        if until == Ready::Mounted {
            clock.step("unmount", || mounts::unmount(&self.mounts.join(number.to_string())));
        }
        let node = self.nodes.remove(&number).expect("it was made before");
        if self.space == Space::Returned {
            clock.step("discard", || discard(&node, BASE.0));
        }
        clock.step("deactivate", || self.kernel.remove(&device));
        clock.step("delete", || self.delete_thin(id));
    }
}
