//! A new container, with its rootfs and streams.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

use serde::Deserialize;
use sharedroot::verbs::{New, Verbs};
use sharedroot_format::json;
use sharedroot_task::messages::options::runc;
use sharedroot_task::messages::task::CreateTaskRequest;
use sharedroot_task::start::RuntimeOptions;

use super::console::Console;
use super::streams::{Asked, Route, Streams, User};
use super::{Done, Failed, rootfs};
use crate::engine;
use crate::report::{Keep, Report};
use crate::serve::Orders;

/// Makes the container. If that fails, everything is as before.
///
/// # Errors
/// [`Failed`].
pub fn create(orders: &Orders, verbs: &Verbs, request: &CreateTaskRequest) -> Result<Done, Failed> {
    let bundle = Path::new(&request.bundle);
    let found = bundle.canonicalize().map_err(|e| Failed::other(format!("{bundle:?}: {e}")))?;
    let Options { runc: options, engine } = options(request)?;
    let config = Config::read(&found)?;
    let console = request.terminal.then(|| Console::listen(&orders.socket)).transpose()?;
    let CreateTaskRequest { stdin, stdout, stderr, .. } = request;
    let asked = Asked { stdin, stdout, stderr };
    let user = User { namespace: &orders.namespace, id: &request.id, bundle: &found };
    let streams = match &console {
        Some(_) => Streams::of_terminal(&asked, &user)?,
        None => {
            let route = Route::of(|| Ok(config.process.apparmor_profile.clone()))?;
            Streams::open(&asked, route, &user)?
        }
    };
    let target = rootfs::of_bundle(&found);
    let mounted = rootfs::mount(&request.rootfs, &target)?;
    let taken = streams.take_places().map_err(|e| Failed::other(format!("streams: {e}")))?;
    let made = verbs.create(&New {
        engine: engine.as_deref().map(OsStr::new),
        id: &request.id,
        bundle: &found,
        console_socket: console.as_ref().map(Console::path),
        no_pivot: options.no_pivot_root,
        no_new_keyring: options.no_new_keyring,
        systemd_cgroup: options.systemd_cgroup || names_a_unit(&config.linux.cgroups_path),
    })?;
    let terminal = console.map(Console::receive).transpose()?;
    let mut kept = taken.keep();
    kept.extend(terminal.map(|terminal| (Keep::Terminal, terminal)));
    kept.extend(made.memory_events.map(|events| (Keep::MemoryEvents, events.into())));
    if made.shared {
        mounted.end_unused();
    } else {
        mounted.keep();
    }
    let pid = made.pid.as_raw().unsigned_abs();
    let report = Report { pid, shared_pids: !made.own_pids, ..Report::default() };
    Ok(Done { report, kept })
}

/// The part of config.json that a shim looks at.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    linux: Linux,
    /// The init process.
    pub process: Process,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Linux {
    #[serde(rename = "cgroupsPath")]
    cgroups_path: String,
}

/// The part of a process that says how it gets its streams.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Process {
    /// The AppArmor profile.
    #[serde(rename = "apparmorProfile")]
    pub apparmor_profile: String,
}

impl Config {
    /// Reads the configuration of a bundle.
    ///
    /// # Errors
    /// [`Failed`].
    pub fn read(bundle: &Path) -> Result<Self, Failed> {
        let path = bundle.join("config.json");
        let text = File::open(&path).and_then(json::read);
        let text = text.map_err(|e| Failed::other(format!("read {}: {e}", path.display())))?;
        // What is wrong with the file is told by the verb, which reads it, too.
        Ok(serde_json::from_slice(&text).unwrap_or_default())
    }
}

/// Whether the cgroup is a unit of systemd, by the form of its path (SLICE:PREFIX:NAME). Docker tells it in no other way to a
/// shim that is not runc's.
fn names_a_unit(path: &str) -> bool {
    !path.contains('/') && path.matches(':').count() == 2
}

/// The options that bear on a new container.
struct Options {
    runc: runc::Options,
    /// The engine that the option `BinaryName` names.
    engine: Option<String>,
}

/// `start` has refused the options that this shim does not know.
fn options(request: &CreateTaskRequest) -> Result<Options, Failed> {
    let options = RuntimeOptions::of(request.options.as_ref()).map_err(Failed::invalid)?;
    let engine = engine::of(&options);
    let runc = match options {
        RuntimeOptions::Runc(options) => options,
        RuntimeOptions::None | RuntimeOptions::Any(_) => runc::Options::default(),
    };
    Ok(Options { runc, engine })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_of_systemd_is_known_by_its_form() {
        for (path, is_unit) in [
            ("system.slice:docker:0ab", true),
            (":sharedroot:c", true),
            ("/default/c1", false),
            ("", false),
            ("/a:b:c", false),
        ] {
            assert_eq!(names_a_unit(path), is_unit, "{path}");
        }
    }
}
