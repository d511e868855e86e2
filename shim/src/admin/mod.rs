//! What an administrator asks and does; nothing here is in a container's path.

pub mod config;
pub mod doctor;
pub mod gc;
pub mod image;
pub mod install;
pub mod metrics;
pub mod pool;
mod progress;
mod screen;
pub mod status;
pub mod top;

use serde_json::{Value, json};

use crate::output::say;

/// The version of what `--json` prints; docs/json.md has every key. A key that is added leaves it as it is; one that goes
/// or gets another meaning makes it one more.
const VERSION: u32 = 1;

/// Prints what a program asked for.
fn for_programs(mut value: Value) {
    value["version"] = json!(VERSION);
    say!("{value:#}");
}
