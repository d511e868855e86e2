//! The lab's disks, by their roles.

use sharedroot_bench::disks;

pub use sharedroot_bench::disks::{Disk, Traffic, traffic};

/// The disk of the pool's data.
pub const DATA: &str = "data";
/// The disk of the pool's metadata.
pub const METADATA: &str = "metadata";
/// The disk of the layers, and without Docker also of the pool's store.
pub const LAYERS: &str = "layers";

/// Takes the counters of the disks. `layers` is the disk of the layers.
pub fn begin(layers: &'static str) -> Vec<Disk> {
    disks::begin(&[(DATA, "ubdc"), (METADATA, "ubdd"), (LAYERS, layers)])
}
