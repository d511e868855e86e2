//! The commands of an administrator. No command here is in a container's path.

pub mod config;
mod containerd_shim;
pub mod doctor;
pub mod gc;
pub mod image;
pub mod install;
pub mod metrics;
pub mod pool;
mod progress;
mod screen;
mod snapshots;
mod snapshotter;
pub mod status;
pub mod top;

use serde_json::{Value, json};

use crate::output::say;

/// The version of the output of `--json`; docs/json.md has every key. A new key does not change the version. A key that
/// is removed or gets another meaning raises the version by one.
const VERSION: u32 = 1;

/// Prints JSON for programs.
fn for_programs(mut value: Value) {
    value["version"] = json!(VERSION);
    say!("{value:#}");
}
