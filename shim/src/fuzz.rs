//! The functions that the fuzz targets call. Each function passes outside input through the code that reads the input,
//! and panics if the result breaks a promise. The crate in `fuzz/` calls them with random bytes, the tests below with
//! the seeds and with small changes of the seeds.
//!
//! | function | who wrote it |
//! |---|---|
//! | [`config`] | config.json, from an engine |
//! | [`argv`] | the command line, from an engine |
//! | [`record`] | a record, from this program |
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
