//! What the fuzz targets call: each function leads what others wrote through the code that reads it, and panics where what
//! comes out breaks a promise. The crate in `fuzz/` throws bytes at them, the tests below the seeds and what is near them.
//!
//! | function | who wrote it |
//! |---|---|
//! | [`config`] | config.json, from an engine |
//! | [`argv`] | the command line, from an engine |
//! | [`record`] | a record, from us |
//! | [`settings`] | config.toml and labels, from an administrator |

mod config;
mod words;

pub use config::config;
pub use words::{argv, settings};

use crate::record::Record;

/// The text of a container's record.
pub fn record(text: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(text) else { return };
    let written = serde_json::to_vec(&record).expect("a record can be written");
    let again: Record = serde_json::from_slice(&written).expect("what we wrote");
    assert_eq!((again.id, again.rootfs), (record.id, record.rootfs));
}

#[cfg(test)]
mod tests;
