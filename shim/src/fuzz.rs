//! What the fuzz targets call: each function leads what others wrote through the code that reads it, and panics where what
//! comes out breaks a promise. The crate in `fuzz/` throws bytes at them, the tests below the seeds and what is near them.
//!
//! | function | who wrote it |
//! |---|---|
//! | [`config`] | config.json, from an engine |
//! | [`process`] | the process of `exec`, from an engine |
//! | [`resources`] | the new limits of `update`, from an engine |
//! | [`argv`] | the command line, from an engine |
//! | [`mountinfo`] | the kernel's mount table, full of others' paths |
//! | [`store`] | Docker's layer database, and records of ours |
//! | [`tar`] | a layer of an image, from anybody |
//! | [`archive`] | the file that `image import` is given, from anybody |
//! | [`settings`] | config.toml and labels, from an administrator |

mod config;
mod words;

use std::error::Error;
use std::path::PathBuf;

use oci_spec::runtime::LinuxResources;
use sharedroot_sys::chain::chain;

pub use crate::engine::process;
pub use crate::image::fuzz::{mountinfo, store};
pub use crate::image::import::fuzz::{archive, tar};
pub use config::config;
pub use words::{argv, settings};

use crate::engine::Limits;
use crate::json;

/// The text of `update --resources`.
pub fn resources(text: &[u8]) {
    if let Err(error) = Limits::parse(PathBuf::from("limits.json"), text) {
        return says_something(&error);
    }
    let limits: LinuxResources = json::parse(text).expect("what was read once");
    let written = serde_json::to_vec(&limits).expect("limits can be written");
    assert_eq!(json::parse::<LinuxResources>(&written).expect("what we wrote"), limits);
}

/// An error is a message for a person: some words, and not too many.
pub(crate) fn says_something(error: &dyn Error) {
    let text = chain(error);
    assert!(text.chars().any(char::is_alphabetic), "an error without words: {text:?}");
    assert!(text.len() <= 5000, "an error that nobody can read, {} bytes", text.len());
}

#[cfg(test)]
mod tests;
