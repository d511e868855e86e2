//! The arm that everything is compared with: the kernel's own calls, one after the other, with no record of anything.

use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::cycles::Arm;
use crate::filesystem;
use crate::kernel::Kernel;
use crate::mounts;
use crate::place::{BASE, Place, sectors};

/// The thin id of the base; the snapshots have the ids above.
const BASE_ID: u32 = 0;

/// A pool that dmsetup made.
pub struct Raw {
    pub kernel: Kernel,
    number: String,
    mounts: PathBuf,
}

impl Raw {
    /// The pool's dm name.
    pub const POOL: &'static str = "bench-raw";

    pub fn new(place: &Place, tree: &Path) -> Self {
        place.make_pool(Self::POOL);
        let kernel = Kernel::new();
        let number = kernel.number(Self::POOL);
        let raw = Self { kernel, number, mounts: place.dir("mnt-raw") };
        let device = raw.make_thin(BASE_ID, "bench-raw-base");
        filesystem::make_as_we_do(&device, tree);
        raw.kernel.remove("bench-raw-base");
        raw
    }

    /// A new thin volume of a base's size, active.
    pub fn make_thin(&self, id: u32, device: &str) -> PathBuf {
        self.kernel.message(Self::POOL, &format!("create_thin {id}"));
        self.activate(id, device)
    }

    /// A snapshot of `origin`, which is not active.
    pub fn snapshot(&self, id: u32, origin: u32) {
        self.kernel.message(Self::POOL, &format!("create_snap {id} {origin}"));
    }

    pub fn activate(&self, id: u32, device: &str) -> PathBuf {
        self.kernel.activate(device, sectors(BASE), &format!("{} {id}", self.number))
    }

    pub fn delete_thin(&self, id: u32) {
        self.kernel.message(Self::POOL, &format!("delete {id}"));
    }
}

impl Arm for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn pool(&self) -> String {
        Self::POOL.to_owned()
    }

    fn ready(&mut self, number: usize, mounted: bool, clock: &mut Clock) {
        let (id, device) = (number as u32 + 1, format!("bench-raw-{number}"));
        let at = self.mounts.join(number.to_string());
        std::fs::create_dir_all(&at).expect("a mount point");
        clock.step("snapshot", || self.snapshot(id, BASE_ID));
        let node = clock.step("activate", || self.activate(id, &device));
        if mounted {
            clock.step("mount", || mounts::plain(&node, &at));
        }
    }

    fn delete(&mut self, number: usize, mounted: bool, clock: &mut Clock) {
        let (id, device) = (number as u32 + 1, format!("bench-raw-{number}"));
        if mounted {
            clock.step("unmount", || mounts::unmount(&self.mounts.join(number.to_string())));
        }
        clock.step("deactivate", || self.kernel.remove(&device));
        clock.step("delete", || self.delete_thin(id));
    }
}
