//! containerd's config.toml: a runtime for its CRI plugin.
//!
//! The plugin's key depends on the version of the configuration. A file without a version has version 1 (containerd's
//! `Config.GetVersion`). Every containerd until now reads version 1 and the later ones. `install` does not change the
//! version, because that would change the meaning of the rest of the file.

use toml_edit::{Document, Item};

use super::error::EditError;
use super::{Entry, NAME, Runs, toml};
use crate::admin::containerd_shim::RUNTIME_TYPE;

/// The CRI plugin's name in version 1, in version 2, and since version 3.
const PLUGINS: [&str; 3] = ["cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];

/// The runtime type of containerd's own shim.
const OWN_SHIM: &str = "io.containerd.runc.v2";

/// The first line of a new file: containerd 1.4 and all later ones read it.
const VERSION: &str = "version = 2\n";

/// The text with the runtime added.
///
/// # Errors
/// [`EditError`].
pub fn add(text: &str, entry: &Entry) -> Result<String, EditError> {
    let fresh =
        if toml::parse(text)?.is_empty() { format!("{text}{VERSION}") } else { text.to_owned() };
    let document = toml::parse(&fresh)?;
    let at = containerd(plugin(&document)?);
    let ours = [&at[..], &["runtimes", NAME]].concat();
    let mut text = match &entry.runs {
        Runs::Commands(path) => add_commands(&fresh, &document, &at, path)?,
        Runs::Shim => add_shim(&fresh, &document, &ours)?,
    };
    if entry.default {
        text = toml::set(&text, &at, "default_runtime_name", &toml::string(NAME))?;
    }
    Ok(text)
}

/// A runtime of containerd's own shim, which calls this program.
fn add_commands(
    text: &str,
    document: &Document<&str>,
    at: &[&str],
    path: &str,
) -> Result<String, EditError> {
    let ours = [at, &["runtimes", NAME]].concat();
    let options = [&ours[..], &["options"]].concat();
    let mut text = toml::set(text, &ours, "runtime_type", &toml::string(OWN_SHIM))?;
    text = toml::set(&text, &options, "BinaryName", &toml::string(path))?;
    // kubelet has one cgroup driver for all runtimes.
    let driver = [at, &["runtimes", "runc", "options", "SystemdCgroup"]].concat();
    if toml::find(document, &driver).and_then(Item::as_bool) == Some(true) {
        text = toml::set(&text, &options, "SystemdCgroup", "true")?;
    }
    Ok(text)
}

/// A runtime of the shim. The shim knows the cgroup driver by each container's path. The options of another shim go.
fn add_shim(text: &str, document: &Document<&str>, ours: &[&str]) -> Result<String, EditError> {
    let runtime_type = [ours, &["runtime_type"]].concat();
    let old = toml::find(document, &runtime_type).and_then(Item::as_str);
    let text = match old.is_some_and(|old| old != RUNTIME_TYPE) {
        true => toml::remove(text, &[ours, &["options"]].concat())?,
        false => text.to_owned(),
    };
    toml::set(&text, ours, "runtime_type", &toml::string(RUNTIME_TYPE))
}

/// The text without the runtime. `before` is the file's earlier text, if it is known.
///
/// # Errors
/// [`EditError`].
pub fn remove(text: &str, before: &str) -> Result<String, EditError> {
    let mut text = text.to_owned();
    // The runtime is removed in the form of every version, because the file may have been migrated.
    for plugin in PLUGINS {
        let at = containerd(plugin);
        text = toml::remove(&text, &[&at[..], &["runtimes", NAME]].concat())?;
        text = toml::restore(&text, &at, "default_runtime_name", NAME, before)?;
    }
    Ok(text)
}

/// Whether the text has no content.
pub fn is_empty(text: &str) -> bool {
    text.trim().is_empty() || text.trim() == VERSION.trim()
}

/// The reason if containerd will not use the entry. `None` for a text that is not TOML.
pub fn doubt(text: &str) -> Option<&'static str> {
    let document = toml::parse(text).ok()?;
    let disabled = toml::find(&document, &["disabled_plugins"]).and_then(Item::as_array)?;
    let is_cri = |name: &str| PLUGINS.contains(&name);
    disabled.iter().filter_map(|name| name.as_str()).any(is_cri).then_some(
        "disabled_plugins has the CRI plugin, which alone reads this entry (for kubelet and crictl); \
         `ctr run --runc-binary` needs no entry",
    )
}

fn containerd(plugin: &str) -> [&str; 3] {
    ["plugins", plugin, "containerd"]
}

fn plugin(document: &Document<&str>) -> Result<&'static str, EditError> {
    match toml::find(document, &["version"]).map(Item::as_integer) {
        None | Some(Some(1)) => Ok(PLUGINS[0]),
        Some(Some(2)) => Ok(PLUGINS[1]),
        Some(Some(3 | 4)) => Ok(PLUGINS[2]),
        Some(Some(version)) => Err(EditError::Version { version }),
        Some(None) => Err(EditError::Shape { key: "version".to_owned(), wanted: "a number" }),
    }
}
