//! containerd's config.toml: a runtime of its CRI plugin.
//!
//! The plugin's key depends on the version of the configuration. One without a version has version 1 (containerd's
//! `Config.GetVersion`); every containerd up to now reads it and the others, and none is made another, for that would
//! change what the rest of the file means.

use toml_edit::{Document, Item};

use super::error::EditError;
use super::{Entry, NAME, toml};

/// The CRI plugin in version 1, in version 2, and since version 3.
const PLUGINS: [&str; 3] = ["cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];

/// What a new file begins with: containerd 1.4 and all that came after read it.
const VERSION: &str = "version = 2\n";

/// The text with the runtime in it.
///
/// # Errors
/// [`EditError`].
pub fn add(text: &str, entry: &Entry) -> Result<String, EditError> {
    let fresh =
        if toml::parse(text)?.is_empty() { format!("{text}{VERSION}") } else { text.to_owned() };
    let document = toml::parse(&fresh)?;
    let at = containerd(plugin(&document)?);
    let ours = [&at[..], &["runtimes", NAME]].concat();
    let options = [&ours[..], &["options"]].concat();
    let mut text = toml::set(&fresh, &ours, "runtime_type", "\"io.containerd.runc.v2\"")?;
    text = toml::set(&text, &options, "BinaryName", &toml::string(&entry.path))?;
    // kubelet's cgroup driver is one for all runtimes.
    let driver = [&at[..], &["runtimes", "runc", "options", "SystemdCgroup"]].concat();
    if toml::find(&document, &driver).and_then(Item::as_bool) == Some(true) {
        text = toml::set(&text, &options, "SystemdCgroup", "true")?;
    }
    if entry.default {
        text = toml::set(&text, &at, "default_runtime_name", &toml::string(NAME))?;
    }
    Ok(text)
}

/// The text without it. `before` is what the file was, as far as that is known.
///
/// # Errors
/// [`EditError`].
pub fn remove(text: &str, before: &str) -> Result<String, EditError> {
    let mut text = text.to_owned();
    // In all versions: somebody may have migrated the file.
    for plugin in PLUGINS {
        let at = containerd(plugin);
        text = toml::remove(&text, &[&at[..], &["runtimes", NAME]].concat())?;
        text = toml::restore(&text, &at, "default_runtime_name", NAME, before)?;
    }
    Ok(text)
}

/// Whether the text says nothing.
pub fn is_empty(text: &str) -> bool {
    text.trim().is_empty() || text.trim() == VERSION.trim()
}

/// Why the entry will have no effect, if so. A text that is no TOML has none.
pub fn doubt(text: &str) -> Option<&'static str> {
    let document = toml::parse(text).ok()?;
    let disabled = toml::find(&document, &["disabled_plugins"]).and_then(Item::as_array)?;
    let is_cri = |name: &str| PLUGINS.contains(&name);
    disabled.iter().filter_map(|name| name.as_str()).any(is_cri).then_some(
        "disabled_plugins has the CRI plugin, which alone reads this entry (for kubelet and crictl); \
         `ctr run --runc-binary` needs none",
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
