//! The functions that the fuzz targets call. Each function passes outside input through the code that reads the input,
//! and panics if the result breaks a promise. The crate in `fuzz/` calls them with random bytes, the tests below with
//! the seeds and with small changes of the seeds.
//!
//! | function | who wrote it |
//! |---|---|
//! | [`process`] | the process of `exec`, from an engine |
//! | [`resources`] | the new limits of `update`, from an engine |

use std::path::PathBuf;

use oci_spec::runtime::LinuxResources;
use sharedroot_format::json;
use sharedroot_seeds::says_something;

use crate::container::update::Limits;
pub use crate::embedded::tenant::process;

/// The text of `update --resources`.
///
/// # Panics
/// If a promise is broken.
pub fn resources(text: &[u8]) {
    if let Err(error) = Limits::parse(PathBuf::from("limits.json"), text) {
        return says_something(&error);
    }
    let limits: LinuxResources = json::parse(text).expect("what was read once");
    let written = serde_json::to_vec(&limits).expect("limits can be written");
    assert_eq!(json::parse::<LinuxResources>(&written).expect("what we wrote"), limits);
}

#[cfg(test)]
mod tests {
    use sharedroot_seeds::{Target, damaged_seeds, every_seed, wrong_values};

    use super::*;

    const TARGETS: [Target; 2] = [("process", process), ("resources", resources)];

    #[test]
    fn every_seed_is_read_or_refused() {
        every_seed(&TARGETS);
    }

    #[test]
    fn damaged_seeds_are_read_or_refused() {
        damaged_seeds(&TARGETS);
    }

    #[test]
    fn wrong_values_are_read_or_refused() {
        wrong_values("/process", ("process", process));
        wrong_values("/linux/resources", ("resources", resources));
    }
}
