//! containerd's config.toml: a runtime for its CRI plugin, and the snapshotter.
//!
//! The plugin's key depends on the version of the configuration. A file without a version has version 1 (containerd's
//! `Config.GetVersion`). Every containerd until now reads version 1 and the later ones. `install` does not change the
//! version, because that would change the meaning of the rest of the file.

use toml_edit::{Document, Item, Table};

use super::error::EditError;
use super::{Entry, NAME, Runs, Snapshotter, toml};
use crate::admin::containerd_shim::RUNTIME_TYPE;
use crate::admin::snapshotter;

/// The CRI plugin's name in version 1, in version 2, and since version 3.
const PLUGINS: [&str; 3] = ["cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"];

/// The runtime that containerd has if its configuration names none. If the configuration names any, containerd 1.7 has only those,
/// and its CRI plugin does not start without the default one.
const DEFAULT_RUNTIME: &str = "runc";

/// The runtime type of containerd's own shim.
const OWN_SHIM: &str = "io.containerd.runc.v2";

/// The snapshotters that are other processes.
const PROXY: [&str; 2] = ["proxy_plugins", snapshotter::NAME];

/// Into which snapshotters containerd's transfer service unpacks images. `ctr image pull` uses it since containerd 2.0, and CRI
/// since 2.1; both read files of version 2 and later. A file without a list means one element, containerd's default; a list means the list alone.
const UNPACK: [&str; 3] = ["plugins", "io.containerd.transfer.v1.local", "unpack_config"];
const DEFAULT_SNAPSHOTTER: &str = "overlayfs";

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
    let with_default = match toml::find(&document, &[&at[..], &["runtimes"]].concat()) {
        Some(_) => fresh.clone(),
        None => {
            let runc = [&at[..], &["runtimes", DEFAULT_RUNTIME]].concat();
            toml::set(&fresh, &runc, "runtime_type", &toml::string(OWN_SHIM))?
        }
    };
    let mut text = match &entry.runs {
        Runs::Commands(path) => add_commands(&with_default, &document, &at, path)?,
        Runs::Shim => add_shim(&with_default, &document, &ours)?,
    };
    if entry.default {
        text = toml::set(&text, &at, "default_runtime_name", &toml::string(NAME))?;
    }
    if let Some(snapshotter) = &entry.snapshotter {
        text = add_snapshotter(&text, &ours, snapshotter)?;
        // The service takes only what its list has, so CRI could not pull an image for any other runtime.
        if at[1] != PLUGINS[0] {
            text = add_unpack(&text)?;
        }
    }
    Ok(text)
}

/// The snapshotter, and that the containers of our runtime are on it.
fn add_snapshotter(text: &str, ours: &[&str], of: &Snapshotter) -> Result<String, EditError> {
    let exports = [&PROXY[..], &["exports"]].concat();
    let mut text = text.to_owned();
    for (table, key, value) in [
        (&PROXY[..], "type", "snapshot"),
        (&PROXY, "address", snapshotter::SOCKET),
        (&exports, "root", &of.root),
        (ours, "snapshotter", snapshotter::NAME),
    ] {
        text = toml::set(&text, table, key, &toml::string(value))?;
    }
    Ok(text)
}

/// The element of the transfer service for a snapshotter. The architecture is the host's.
fn unpack_into(snapshotter: &str) -> [(&'static str, &str); 2] {
    [("platform", "linux"), ("snapshotter", snapshotter)]
}

fn add_unpack(text: &str) -> Result<String, EditError> {
    let document = toml::parse(text)?;
    let list = toml::find(&document, &UNPACK);
    let tables = list.and_then(Item::as_array_of_tables);
    if tables.is_some_and(|tables| tables.iter().any(|table| is_into(table, snapshotter::NAME))) {
        return Ok(text.to_owned());
    }
    let default = list.is_none().then_some(DEFAULT_SNAPSHOTTER);
    default
        .into_iter()
        .chain([snapshotter::NAME])
        .try_fold(text.to_owned(), |text, name| toml::push(&text, &UNPACK, &unpack_into(name)))
}

fn is_into(table: &Table, snapshotter: &str) -> bool {
    table.get("snapshotter").and_then(Item::as_str) == Some(snapshotter)
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
        let rest = toml::remove(&text, &[&at[..], &["runtimes", NAME]].concat())?;
        text = if rest == text { rest } else { remove_default(&rest, &at, before)? };
        text = toml::restore(&text, &at, "default_runtime_name", NAME, before)?;
    }
    remove_unpack(&toml::remove(&text, &PROXY)?, before)
}

/// The text without the default runtime, if it is the only one, and `add` wrote it.
fn remove_default(text: &str, at: &[&str], before: &str) -> Result<String, EditError> {
    let runtimes = [at, &["runtimes"]].concat();
    let (document, before) = (toml::parse(text)?, toml::parse(before)?);
    let left = toml::find(&document, &runtimes).and_then(Item::as_table_like);
    let is_ours = left.is_some_and(|left| {
        let runc = left.get(DEFAULT_RUNTIME).and_then(Item::as_table_like);
        let runc = runc.filter(|runc| left.len() == 1 && runc.len() == 1);
        runc.and_then(|runc| runc.get("runtime_type")?.as_str()) == Some(OWN_SHIM)
    });
    match is_ours && toml::find(&before, &runtimes).is_none() {
        true => toml::remove(text, &[&runtimes[..], &[DEFAULT_RUNTIME]].concat()),
        false => Ok(text.to_owned()),
    }
}

fn remove_unpack(text: &str, before: &str) -> Result<String, EditError> {
    let rest = toml::remove_tables(text, &UNPACK, |table| is_into(table, snapshotter::NAME))?;
    if rest == text || toml::find(&toml::parse(before)?, &UNPACK).is_some() {
        return Ok(rest);
    }
    // There was no list, so its other element is ours, too, unless somebody has changed the list since.
    let document = toml::parse(&rest)?;
    let tables = toml::find(&document, &UNPACK).and_then(Item::as_array_of_tables);
    let is_ours = |table: &Table| {
        let wanted = unpack_into(DEFAULT_SNAPSHOTTER);
        let has = |(key, value): (&str, &str)| table.get(key).and_then(Item::as_str) == Some(value);
        table.len() == wanted.len() && wanted.into_iter().all(has)
    };
    match tables.is_some_and(|tables| tables.len() == 1 && tables.iter().all(is_ours)) {
        true => toml::remove_tables(&rest, &UNPACK, is_ours),
        false => Ok(rest),
    }
}

/// Whether the text has no content.
pub fn is_empty(text: &str) -> bool {
    text.trim().is_empty() || text.trim() == VERSION.trim()
}

/// The command that makes containerd use the file.
pub fn next(before: &str, after: &str) -> String {
    let restart = "systemctl restart containerd";
    match (has_snapshotter(before), has_snapshotter(after)) {
        (_, true) => format!("{} && {restart}", snapshotter::LISTEN),
        _ => restart.to_owned(),
    }
}

/// What the change means for its user.
pub fn notes(before: &str, after: &str) -> Vec<&'static str> {
    let left = "containerd will not know the snapshotter: remove its images and containers before the restart, or they stay in the pool";
    let gone = has_snapshotter(before) && !has_snapshotter(after);
    doubt(after).into_iter().chain(gone.then_some(left)).collect()
}

fn has_snapshotter(text: &str) -> bool {
    toml::parse(text).is_ok_and(|document| toml::find(&document, &PROXY).is_some())
}

/// The reason if containerd will not use the entry. `None` for a text that is not TOML.
fn doubt(text: &str) -> Option<&'static str> {
    let document = toml::parse(text).ok()?;
    let disabled = toml::find(&document, &["disabled_plugins"]).and_then(Item::as_array)?;
    let is_cri = |name: &str| PLUGINS.contains(&name);
    disabled.iter().filter_map(|name| name.as_str()).any(is_cri).then_some(
        "disabled_plugins has the CRI plugin, which alone reads the entry of a runtime (for kubelet and crictl); \
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
