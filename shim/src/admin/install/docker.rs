//! Docker's daemon.json.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstRootNode};
use serde_json::Value;

use super::error::EditError;
use super::{Entry, NAME, Runs};
use crate::admin::containerd_shim::RUNTIME_TYPE;
use crate::admin::snapshotter;

/// The key of the storage: a graph driver of Docker's, or a snapshotter of containerd's.
const DRIVER: &str = "storage-driver";
/// The feature with which Docker keeps images in containerd's store. Without it the storage is a graph driver.
const FEATURE: &str = "containerd-snapshotter";
/// Where dockerd keeps the records of containers if the file says nothing else.
const USUAL_DATA: &str = "/var/lib/docker";

/// The text with the runtime added.
///
/// # Errors
/// [`EditError`].
pub fn add(text: &str, entry: &Entry) -> Result<String, EditError> {
    let root = parse(if is_empty(text) { "{\n}\n" } else { text })?;
    let daemon = top(&root)?;
    let runtimes = object(&daemon, "runtimes", "runtimes")?;
    let ours = object(&runtimes, NAME, "runtimes.sharedroot")?;
    // dockerd refuses a runtime that is named in both ways.
    let (key, value, others) = match &entry.runs {
        Runs::Commands(path) => ("path", path.as_str(), ["runtimeType", "options"]),
        Runs::Shim => ("runtimeType", RUNTIME_TYPE, ["path", "runtimeArgs"]),
    };
    for other in others {
        unset(&ours, other);
    }
    set(&ours, key, value);
    if entry.default {
        unique(&daemon, "default-runtime", "default-runtime")?;
        set(&daemon, "default-runtime", NAME);
    }
    if entry.snapshotter.is_some() {
        add_storage(&daemon)?;
    }
    Ok(root.to_string())
}

fn add_storage(daemon: &CstObject) -> Result<(), EditError> {
    let path = format!("features.{FEATURE}");
    let features = object(daemon, "features", "features")?;
    unique(&features, FEATURE, &path)?;
    match features.get(FEATURE) {
        Some(_) if feature(daemon).is_none() => return Err(shape(&path, "true or false")),
        Some(property) => property.set_value(CstInputValue::Bool(true)),
        None => drop(features.append(FEATURE, CstInputValue::Bool(true))),
    }
    unique(daemon, DRIVER, DRIVER)?;
    set(daemon, DRIVER, snapshotter::NAME);
    Ok(())
}

/// The text without the runtime. `before` is the file's earlier text, if it is known.
///
/// # Errors
/// [`EditError`].
pub fn remove(text: &str, before: &str) -> Result<String, EditError> {
    if is_empty(text) {
        return Ok(text.to_owned());
    }
    let root = parse(text)?;
    let daemon = top(&root)?;
    let before = if is_empty(before) { Value::Null } else { serde_json::from_str(before)? };
    for key in ["runtimes", "default-runtime", DRIVER, "features"] {
        unique(&daemon, key, key)?;
    }
    if let Some(runtimes) = daemon.object_value("runtimes") {
        unique(&runtimes, NAME, "runtimes.sharedroot")?;
        if runtimes.get(NAME).is_some() {
            unset(&runtimes, NAME);
            if runtimes.properties().is_empty() && before.get("runtimes").is_none() {
                unset(&daemon, "runtimes");
            }
        }
    }
    if string(&daemon, "default-runtime").as_deref() == Some(NAME) {
        match before["default-runtime"].as_str() {
            Some(old) if old != NAME => set(&daemon, "default-runtime", old),
            _ => unset(&daemon, "default-runtime"),
        }
    }
    if string(&daemon, DRIVER).as_deref() == Some(snapshotter::NAME) {
        remove_storage(&daemon, &before);
    }
    Ok(root.to_string())
}

/// The feature goes with our driver: with another driver its user has decided about the feature.
fn remove_storage(daemon: &CstObject, before: &Value) {
    match before[DRIVER].as_str() {
        Some(old) if old != snapshotter::NAME => set(daemon, DRIVER, old),
        _ => unset(daemon, DRIVER),
    }
    let Some(features) = daemon.object_value("features") else { return };
    match (before["features"][FEATURE].as_bool(), features.get(FEATURE)) {
        (Some(old), Some(property)) => property.set_value(CstInputValue::Bool(old)),
        (None, Some(property)) => property.remove(),
        (_, None) => return,
    }
    if features.properties().is_empty() && before.get("features").is_none() {
        unset(daemon, "features");
    }
}

/// Whether the text has no content.
pub fn is_empty(text: &str) -> bool {
    let text: String = text.split_whitespace().collect();
    text.is_empty() || text == "{}"
}

/// The command that makes dockerd use the file. On SIGHUP dockerd keeps its runtimes and default runtime if the file
/// names none (moby's `reloadPlatform`).
pub fn next(before: &str, after: &str) -> &'static str {
    let has =
        |text, key| serde_json::from_str(text).is_ok_and(|daemon: Value| daemon.get(key).is_some());
    let lost = |key| has(before, key) && !has(after, key);
    if is_on_snapshotter(before) != is_on_snapshotter(after) {
        "systemctl restart docker (a reload changes no storage)"
    } else if lost("runtimes") || lost("default-runtime") {
        "systemctl restart docker (a reload forgets neither the last runtime nor the default)"
    } else {
        "systemctl reload docker"
    }
}

fn is_on_snapshotter(text: &str) -> bool {
    let daemon = serde_json::from_str(text).unwrap_or(Value::Null);
    daemon[DRIVER] == snapshotter::NAME
}

/// What a change of the storage means for its user.
pub fn notes(before: &str, after: &str) -> Vec<String> {
    let said = |note: &str| note.to_owned();
    match (is_on_snapshotter(before), is_on_snapshotter(after)) {
        (false, true) => {
            let daemon = serde_json::from_str(after).unwrap_or(Value::Null);
            let data = daemon["data-root"].as_str().filter(|data| *data != USUAL_DATA);
            let records = data.map(|data| {
                format!("sharedrootd looks for Docker's records in {USUAL_DATA}: give it `--docker {data}` by `systemctl edit sharedrootd.service`")
            });
            let notes = [
                said(
                    "with this storage Docker sees none of its present images and containers: `docker save` what it will need before \
                     the restart, and `docker load` that afterwards",
                ),
                said(
                    "Docker must use the containerd of the system, not one that dockerd starts, and that containerd must know the \
                     snapshotter: sharedroot install containerd --snapshotter",
                ),
            ];
            notes.into_iter().chain(records).collect()
        }
        (true, false) => vec![said(
            "with its other storage Docker sees none of its present images and containers: remove them before the restart, or they \
             stay in the pool",
        )],
        _ => Vec::new(),
    }
}

/// Both parsers must accept the text: serde_json is stricter, and reports the place.
fn parse(text: &str) -> Result<CstRootNode, EditError> {
    let _: Value = serde_json::from_str(text)?;
    let strict = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        ..ParseOptions::default()
    };
    CstRootNode::parse(text, &strict).map_err(|_| shape("the text", "plain JSON"))
}

fn top(root: &CstRootNode) -> Result<CstObject, EditError> {
    root.object_value().ok_or_else(|| shape("the text", "an object"))
}

/// The object at `key`. A missing object is made.
fn object(parent: &CstObject, key: &str, path: &str) -> Result<CstObject, EditError> {
    unique(parent, key, path)?;
    parent.object_value_or_create(key).ok_or_else(|| shape(path, "an object"))
}

fn unique(parent: &CstObject, key: &str, path: &str) -> Result<(), EditError> {
    let named = |name: &Option<String>| name.as_deref() == Some(key);
    match parent.properties().iter().map(|property| property.decoded_name()).filter(named).count() {
        0 | 1 => Ok(()),
        _ => Err(EditError::Twice { key: path.to_owned() }),
    }
}

fn string(object: &CstObject, key: &str) -> Option<String> {
    object.get(key)?.value()?.as_string_lit()?.decoded_value().ok()
}

/// The feature's value, if it is one that dockerd accepts.
fn feature(daemon: &CstObject) -> Option<bool> {
    let features = daemon.object_value("features")?;
    Some(features.get(FEATURE)?.value()?.as_boolean_lit()?.value())
}

fn set(object: &CstObject, key: &str, value: &str) {
    let new = CstInputValue::String(value.to_owned());
    match object.get(key) {
        Some(_) if string(object, key).as_deref() == Some(value) => {}
        Some(property) => property.set_value(new),
        None => drop(object.append(key, new)),
    }
}

fn unset(object: &CstObject, key: &str) {
    if let Some(property) = object.get(key) {
        property.remove();
    }
}

fn shape(key: &str, wanted: &'static str) -> EditError {
    EditError::Shape { key: key.to_owned(), wanted }
}

#[cfg(test)]
#[path = "docker_tests.rs"]
mod tests;
