//! The Docker daemon with more runtimes: wrappers that damage something and then call sharedroot.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::command::{out, unique_name};
use crate::docker::docker;
use crate::lab::{Replaced, TempDir, only_in_lab, wait_for};
use crate::shim;

const CONFIG: &str = "/etc/docker/daemon.json";

/// Runs a container with the command `sharedroot`, which all wrappers call, also where `RUNTIME` names the shim: the directories
/// of the command and of containerd's own shim appear with their first container, and stay.
#[track_caller]
pub fn warm_up() {
    docker(&["run", "--rm", "--network=host", "--runtime=sharedroot", "busybox", "true"]).ok();
}

/// A runtime that dockerd knows as long as this value lives.
#[derive(Debug)]
pub struct Wrapper {
    /// The name for `--runtime`.
    pub name: String,
    config: Option<Replaced>,
    _script: TempDir,
}

impl Wrapper {
    /// A runtime that runs the shell code `before_create` before `create`, with the bundle's path in `$bundle`.
    #[track_caller]
    pub fn new(before_create: &str) -> Self {
        Self::script(&format!(
            "set -eu\nbundle= last=\nfor word in \"$@\"; do [ \"$last\" != --bundle ] || bundle=$word; last=$word; done\n\
             case \" $* \" in *\" create \"*)\n{before_create}\n;; esac\nexec /usr/local/bin/sharedroot \"$@\"\n"
        ))
    }

    /// sharedroot with arguments, where SELinux enforces. For `runtimeArgs` dockerd would write a script into its state
    /// directory, and by the policy a program that dockerd executes there leaves dockerd's domain.
    #[track_caller]
    pub fn by_script(arguments: &[&str]) -> Self {
        Self::script(&format!("exec /usr/local/bin/sharedroot {} \"$@\"\n", arguments.join(" ")))
    }

    #[track_caller]
    fn script(text: &str) -> Self {
        only_in_lab();
        let (name, dir) = (unique_name("wrapper"), TempDir::of_programs("wrapper"));
        let script = dir.0.join("runtime");
        fs::write(&script, format!("#!/bin/bash\n{text}")).expect("write a wrapper");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("chmod a wrapper");
        let description = json!({ "path": script });
        Self::known(name, &description, dir)
    }

    /// sharedroot itself, with `runtimeArgs`.
    #[track_caller]
    pub fn with_arguments(arguments: &[&str]) -> Self {
        only_in_lab();
        let description = json!({ "path": "/usr/local/bin/sharedroot", "runtimeArgs": arguments });
        Self::known(unique_name("arguments"), &description, TempDir::new("arguments"))
    }

    /// containerd's shim of sharedroot with `options`. It must be installed.
    #[track_caller]
    pub fn of_shim(options: &Value) -> Self {
        only_in_lab();
        let description = json!({ "runtimeType": shim::RUNTIMES[1], "options": options });
        Self::known(unique_name("type"), &description, TempDir::new("type"))
    }

    /// Adds a runtime to dockerd's configuration.
    #[track_caller]
    fn known(name: String, description: &Value, dir: TempDir) -> Self {
        let text = fs::read_to_string(CONFIG).expect("read daemon.json");
        let mut config: Value = serde_json::from_str(&text).expect("daemon.json is JSON");
        config["runtimes"][&name] = description.clone();
        let config = Some(Replaced::with(CONFIG, &config.to_string()));
        reload();
        let wrapper = Self { name, config, _script: dir };
        wait_for("dockerd knows the wrapper", || runtimes().contains(&wrapper.name).then_some(()));
        wrapper
    }
}

impl Drop for Wrapper {
    fn drop(&mut self) {
        self.config = None;
        reload();
    }
}

fn runtimes() -> String {
    docker(&["info", "--format", "{{json .Runtimes}}"]).ok()
}

/// Makes dockerd read its runtimes again, by SIGHUP.
fn reload() {
    for entry in fs::read_dir("/proc").expect("list /proc").flatten() {
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.trim() == "dockerd" {
            out(&["kill", "-HUP", entry.file_name().to_str().expect("a number")]);
        }
    }
}
