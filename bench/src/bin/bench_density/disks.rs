//! The lab's disks, by what they are for.

use sharedroot_bench::disks;

pub use sharedroot_bench::disks::{Disk, Traffic, traffic};

/// What the pool's data is on.
pub const DATA: &str = "data";
/// What the pool's metadata is on.
pub const METADATA: &str = "metadata";
/// What the layers lie on; without Docker the pool's store, too.
pub const LAYERS: &str = "layers";

/// Seen for the first time. `layers` is the one that the layers lie on.
pub fn begin(layers: &'static str) -> Vec<Disk> {
    disks::begin(&[(DATA, "ubdc"), (METADATA, "ubdd"), (LAYERS, layers)])
}
