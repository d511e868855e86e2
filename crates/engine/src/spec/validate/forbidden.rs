//! What the runtime-spec forbids in a configuration and the engine would not notice, or not by its name.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use oci_spec::runtime::{Hook, LinuxResources, Process, Spec};
use serde::Serialize;
use serde_json::Value;

/// The file system of namespaces (include/uapi/linux/magic.h).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// A value that the runtime-spec or the kernel forbids.
#[derive(Debug, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Forbidden {
    field: String,
    why: String,
}

fn forbidden<T>(field: impl Into<String>, why: impl Into<String>) -> Result<T, Forbidden> {
    Err(Forbidden { field: field.into(), why: why.into() })
}

/// Looks at a whole configuration. That it has a process and a root is seen elsewhere.
///
/// # Errors
/// [`Forbidden`] naming the field.
pub fn look_at(spec: &Spec) -> Result<(), Forbidden> {
    if let Some(process) = spec.process() {
        look_at_process("process.", process)?;
    }
    if spec.root().as_ref().is_some_and(|root| root.path().as_os_str().is_empty()) {
        return forbidden("root.path", "it is empty");
    }
    for (at, mount) in spec.mounts().iter().flatten().enumerate() {
        // The engine would mount it below the root that the process gets.
        if mount.destination().components().all(|part| part.as_os_str() == "/") {
            let why = "it is the root, which `root` describes; name a directory in it";
            return forbidden(format!("mounts[{at}].destination"), why);
        }
    }
    hooks(spec)?;
    namespaces(spec)?;
    match spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()) {
        Some(resources) => unified("linux.resources.", resources),
        None => Ok(()),
    }
}

/// Looks at a process, of a configuration or of `exec`; `prefix` is what its fields' names begin with.
///
/// # Errors
/// [`Forbidden`] naming the field.
pub fn look_at_process(prefix: &str, process: &Process) -> Result<(), Forbidden> {
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return forbidden(format!("{prefix}args"), "it is empty; its first element is the program");
    }
    if !process.cwd().is_absolute() {
        return forbidden(
            format!("{prefix}cwd"),
            format!("{:?}: cwd must be an absolute path", process.cwd()),
        );
    }
    if let Some(score) = process.oom_score_adj().filter(|score| !(-1000..=1000).contains(score)) {
        return forbidden(
            format!("{prefix}oomScoreAdj"),
            format!("{score} is not in -1000 to 1000"),
        );
    }
    let mut seen = HashSet::new();
    for (at, limit) in process.rlimits().iter().flatten().enumerate() {
        let (field, kind) = (format!("{prefix}rlimits[{at}]"), limit.typ());
        if !seen.insert(kind.to_string()) {
            return forbidden(field, format!("{kind} is there twice"));
        }
        if limit.soft() > limit.hard() {
            let (soft, hard) = (limit.soft(), limit.hard());
            return forbidden(field, format!("{kind}: soft {soft} is more than hard {hard}"));
        }
    }
    Ok(())
}

/// Looks at limits of `update`.
///
/// # Errors
/// [`Forbidden`] naming the field.
pub fn look_at_resources(resources: &LinuxResources) -> Result<(), Forbidden> {
    unified("", resources)
}

/// A hook's path is of the host and must not depend on where the runtime was started.
fn hooks(spec: &Spec) -> Result<(), Forbidden> {
    let Some(hooks) = spec.hooks() else { return Ok(()) };
    let kinds: [(&str, &Option<Vec<Hook>>); 6] = [
        ("prestart", hooks.prestart()),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ];
    for (kind, hooks) in kinds {
        let mut paths = hooks.iter().flatten().map(Hook::path);
        if let Some((at, path)) = paths.by_ref().enumerate().find(|(_, path)| !path.is_absolute()) {
            let why = format!("{path:?} is no absolute path");
            return forbidden(format!("hooks.{kind}[{at}].path"), why);
        }
    }
    Ok(())
}

/// One namespace of each kind, by an absolute path if by one.
fn namespaces(spec: &Spec) -> Result<(), Forbidden> {
    let linux = spec.linux().as_ref();
    let mut seen = HashSet::new();
    for (at, namespace) in linux.iter().flat_map(|l| l.namespaces()).flatten().enumerate() {
        let (field, kind) = (format!("linux.namespaces[{at}]"), namespace.typ());
        if !seen.insert(kind.to_string()) {
            return forbidden(field, format!("a {kind} namespace is there twice"));
        }
        // An empty path is none, as with runc.
        let path = namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty());
        if let Some(path) = path.filter(|path| path.is_relative()) {
            return forbidden(format!("{field}.path"), format!("{path:?} is no absolute path"));
        }
    }
    Ok(())
}

/// Looks whether the namespaces to join are there. Unlike the rest this asks the host.
///
/// # Errors
/// [`Forbidden`] naming the field.
pub fn look_at_joined_namespaces(spec: &Spec) -> Result<(), Forbidden> {
    let linux = spec.linux().as_ref();
    for (at, namespace) in linux.iter().flat_map(|l| l.namespaces()).flatten().enumerate() {
        let path = namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty());
        let Some(path) = path else { continue };
        let why = match rustix::fs::statfs(path) {
            Ok(found) if found.f_type == NSFS_MAGIC => continue,
            Ok(_) => format!("{} is not a namespace", path.display()),
            Err(errno) => format!("{}: {errno}", path.display()),
        };
        return forbidden(format!("linux.namespaces[{at}].path"), why);
    }
    Ok(())
}

/// The keys of `unified` are files of the container's own cgroup: the engine joins them to its path, and would write anywhere.
fn unified(prefix: &str, resources: &LinuxResources) -> Result<(), Forbidden> {
    for key in resources.unified().iter().flat_map(|all| all.keys()) {
        if key.is_empty() || key.contains('/') || Path::new(key).file_name().is_none() {
            let why = format!("{key:?} is not the name of a file in a cgroup");
            return forbidden(format!("{prefix}unified"), why);
        }
    }
    Ok(())
}

/// Looks for NUL bytes in what was read from `text`: no path, name or argument can have one, and somewhere it would end a text
/// early. Users' annotations go nowhere, and unknown fields are not read.
///
/// # Errors
/// [`Forbidden`] naming the field.
pub fn look_for_nul(text: &[u8], prefix: &str, read: &impl Serialize) -> Result<(), Forbidden> {
    // The only way to write one. Usually there is none, and that is told fast.
    if !text.windows(6).any(|bytes| bytes == br"\u0000") {
        return Ok(());
    }
    match serde_json::to_value(read).ok().and_then(|value| nul_in("", &value)) {
        Some(field) if !field.starts_with("annotations.") => {
            forbidden(format!("{prefix}{field}"), "it has a NUL byte")
        }
        _ => Ok(()),
    }
}

/// The first text or name with a NUL byte.
fn nul_in(field: &str, value: &Value) -> Option<String> {
    let below =
        |key: &str| if field.is_empty() { key.to_owned() } else { format!("{field}.{key}") };
    match value {
        Value::String(text) => text.contains('\0').then(|| field.to_owned()),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(at, item)| nul_in(&format!("{field}[{at}]"), item))
        }
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            sorted.into_iter().find_map(|(key, value)| match key.contains('\0') {
                true => Some(below(&key.replace('\0', "\\0"))),
                false => nul_in(&below(key), value),
            })
        }
        _ => None,
    }
}
