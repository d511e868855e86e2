//! podman's containers.conf.
//!
//! podman merges the map `[engine.runtimes]` into its own, so one line adds a runtime and removes none.

use super::error::EditError;
use super::{Entry, NAME, Runs, toml};

const ENGINE: &[&str] = &["engine"];
const RUNTIMES: &[&str] = &["engine", "runtimes"];

/// The text with the runtime added.
///
/// # Errors
/// [`EditError`].
pub fn add(text: &str, entry: &Entry) -> Result<String, EditError> {
    // `install` has refused the shim.
    let Runs::Commands(path) = &entry.runs else { return Ok(text.to_owned()) };
    let places = format!("[{}]", toml::string(path));
    let text = toml::set(text, RUNTIMES, NAME, &places)?;
    if entry.default { toml::set(&text, ENGINE, "runtime", &toml::string(NAME)) } else { Ok(text) }
}

/// The text without the runtime. `before` is the file's earlier text, if it is known.
///
/// # Errors
/// [`EditError`].
pub fn remove(text: &str, before: &str) -> Result<String, EditError> {
    let text = toml::remove_key(text, RUNTIMES, NAME, before)?;
    toml::restore(&text, ENGINE, "runtime", NAME, before)
}

/// Whether the text has no content.
pub fn is_empty(text: &str) -> bool {
    text.trim().is_empty()
}
