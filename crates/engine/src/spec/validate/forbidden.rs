//! Values that the runtime-spec forbids, and that the engine would not notice, or not report by field.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use oci_spec::runtime::{Hook, LinuxResources, Process, Spec};
use serde::Serialize;
use serde_json::Value;

/// How many mounts a configuration may have, how many devices, and how many masked or read-only paths. Only the mounts below them
/// have a bound in the kernel, `fs.mount-max`, and reaching that bound takes long.
const MOST_PATHS: usize = 10_000;
/// How many names the paths of one of these lists may have together: to resolve a path takes up to the square of its names.
const MOST_NAMES: usize = 100_000;
/// The magic number of the file system of namespaces (include/uapi/linux/magic.h).
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

/// Checks a whole configuration. The caller has checked that it has a process and a root.
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
        // The engine would mount the file system below the root that the process gets.
        if mount.destination().components().all(|part| part.as_os_str() == "/") {
            let why = "/ is the root, which `root` describes; name a directory below /";
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

/// Checks that a caller's configuration has no more paths than a container can need. The configuration that sharedroot has made of
/// it may have some more.
///
/// # Errors
/// [`Forbidden`] naming the field.
pub fn look_at_numbers(spec: &Spec) -> Result<(), Forbidden> {
    few("mounts", spec.mounts().iter().flatten().map(|mount| mount.destination().as_path()))?;
    let Some(linux) = spec.linux() else { return Ok(()) };
    few("linux.devices", linux.devices().iter().flatten().map(|device| device.path().as_path()))?;
    few("linux.maskedPaths", linux.masked_paths().iter().flatten().map(Path::new))?;
    few("linux.readonlyPaths", linux.readonly_paths().iter().flatten().map(Path::new))
}

fn few<'a>(field: &str, paths: impl Iterator<Item = &'a Path> + Clone) -> Result<(), Forbidden> {
    let number = paths.clone().count();
    if number > MOST_PATHS {
        return forbidden(field, format!("{number} are more than {MOST_PATHS}"));
    }
    let names = paths.map(|path| path.components().count()).sum::<usize>();
    if names > MOST_NAMES {
        let why = format!("the paths have {names} names together, which is more than {MOST_NAMES}");
        return forbidden(field, why);
    }
    Ok(())
}

/// Checks a process of a configuration or of `exec`. `prefix` stands before the names of its fields.
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

/// Checks the limits of `update`.
///
/// # Errors
/// [`Forbidden`] naming the field.
pub fn look_at_resources(resources: &LinuxResources) -> Result<(), Forbidden> {
    unified("", resources)
}

/// A hook's path is on the host and must not depend on the runtime's working directory.
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

/// At most one namespace of each kind is given, and a path is absolute.
fn namespaces(spec: &Spec) -> Result<(), Forbidden> {
    let linux = spec.linux().as_ref();
    let mut seen = HashSet::new();
    for (at, namespace) in linux.iter().flat_map(|l| l.namespaces()).flatten().enumerate() {
        let (field, kind) = (format!("linux.namespaces[{at}]"), namespace.typ());
        if !seen.insert(kind.to_string()) {
            return forbidden(field, format!("a {kind} namespace is there twice"));
        }
        // An empty path counts as none, as with runc.
        let path = namespace.path().as_deref().filter(|path| !path.as_os_str().is_empty());
        if let Some(path) = path.filter(|path| path.is_relative()) {
            return forbidden(format!("{field}.path"), format!("{path:?} is no absolute path"));
        }
    }
    Ok(())
}

/// Checks that the namespaces to join exist. Unlike the other checks this one reads the host.
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

/// The keys of `unified` are file names in the container's own cgroup: the engine joins a key to the cgroup's path, and
/// could write to any file.
fn unified(prefix: &str, resources: &LinuxResources) -> Result<(), Forbidden> {
    for key in resources.unified().iter().flat_map(|all| all.keys()) {
        if key.is_empty() || key.contains('/') || Path::new(key).file_name().is_none() {
            let why = format!("{key:?} is not the name of a file in a cgroup");
            return forbidden(format!("{prefix}unified"), why);
        }
    }
    Ok(())
}

/// Searches for NUL bytes in the strings that were read from `text`: a path, a name or an argument cannot have one, and
/// some reader would take the part before it for the whole. The check leaves out users' annotations, which are not
/// used, and unknown fields, which are not read.
///
/// # Errors
/// [`Forbidden`] naming the field.
pub fn look_for_nul(text: &[u8], prefix: &str, read: &impl Serialize) -> Result<(), Forbidden> {
    // JSON has no other way to write a NUL byte. Usually there is none, and this search is fast.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_paths_has_a_bound() {
        let named = |field: &str, path: &str, number: usize| {
            let one = |n| match field {
                "mounts" => json!({"destination": format!("{path}{n}")}),
                "linux.devices" => {
                    json!({"path": format!("{path}{n}"), "type": "c", "major": 1, "minor": 3})
                }
                _ => json!(format!("{path}{n}")),
            };
            let list: Vec<_> = (0..number).map(one).collect();
            let config = match field.split_once('.') {
                Some((_, below)) => json!({"ociVersion": "1.2.0", "linux": {below: list}}),
                None => json!({"ociVersion": "1.2.0", field: list}),
            };
            look_at_numbers(&serde_json::from_value(config).unwrap()).map_err(|e| e.to_string())
        };
        for field in ["mounts", "linux.devices", "linux.maskedPaths", "linux.readonlyPaths"] {
            assert_eq!(named(field, "/a/b/c/", 10_000), Ok(()), "{field}");
            let many = named(field, "/a", 10_001).unwrap_err();
            assert_eq!(many, format!("{field}: 10001 are more than 10000"));
            let deep = named(field, &"/d".repeat(2000), 50).unwrap_err();
            assert!(deep.contains(field) && deep.contains("100050 names"), "{deep}");
        }
    }
}
