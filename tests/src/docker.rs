//! Containers and images of a real Docker.

mod api;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bundle::make_rootfs;
use crate::command::{Cmd, Output, out, run, unique_name};
use crate::kernel_view::has_begun;
use crate::lab::{RUN_DIR, TempDir, only_in_lab, wait_for};
use crate::of_env::name_of;
pub use crate::of_env::{ctr_runtime, runs_sharedroot, runtime};
use crate::shim;

/// `docker WORDS…`
#[track_caller]
pub fn docker(words: &[&str]) -> Output {
    only_in_lab();
    Cmd::new("docker").args(words).run()
}

/// Brings an image of the lab's daemon to another daemon, whose command line is `other`.
#[track_caller]
pub fn bring(image: &str, dir: &TempDir, other: impl Fn(&[&str]) -> Output) {
    let tar = dir.0.join("image.tar");
    let tar = tar.to_str().expect("ASCII");
    docker(&["save", "--output", tar, image]).ok();
    other(&["load", "--input", tar]).ok();
}

/// Runs `docker run --rm` with a runtime, and waits for its end. The network is the host's unless `words` have another.
#[track_caller]
pub fn docker_run(runtime: &str, words: &[&str]) -> Output {
    only_in_lab();
    let runtime = format!("--runtime={}", name_of(runtime));
    let mut flags = vec!["run", "--rm", &runtime];
    flags.extend(network(words));
    Cmd::new("docker").args(&flags).args(words).run()
}

/// The flag for a container's network, unless `words` have one: that of the host, where the network is not the point. For a new
/// network namespace dockerd executes itself once more, which takes a third of a container's start.
fn network<'a>(words: &[&str]) -> Option<&'a str> {
    let begins = |begin: &str| words.iter().any(|word| word.starts_with(begin));
    let other = if begins("--sysctl=net.") { "--network=none" } else { "--network=host" };
    (!begins("--network=")).then_some(other)
}

/// A container. Dropping this value removes the container by force.
#[derive(Debug)]
pub struct Container {
    /// The full ID.
    pub id: String,
}

impl Container {
    /// `docker run --detach` under sharedroot.
    #[track_caller]
    pub fn run(words: &[&str]) -> Self {
        Self::run_with("sharedroot", words)
    }

    /// `docker run --detach` under a runtime.
    #[track_caller]
    pub fn run_with(runtime: &str, words: &[&str]) -> Self {
        Self::from("run", runtime, words)
    }

    /// `docker create` under sharedroot.
    #[track_caller]
    pub fn create(words: &[&str]) -> Self {
        Self::from("create", "sharedroot", words)
    }

    /// `docker run --detach` under the runtime of a generic test.
    #[track_caller]
    pub fn generic(words: &[&str]) -> Self {
        Self::run_with(&runtime(), words)
    }

    #[track_caller]
    fn from(verb: &str, runtime: &str, words: &[&str]) -> Self {
        only_in_lab();
        // The guard must know the container even if it was created and could not be started.
        let (name, runtime) = (unique_name("d"), format!("--runtime={}", name_of(runtime)));
        let mut flags = vec![verb, "--name", &name, &runtime];
        flags.extend(network(words));
        if verb == "run" {
            flags.push("--detach");
        }
        let mut container = Self { id: name.clone() };
        container.id = Cmd::new("docker").args(&flags).args(words).run().ok();
        container
    }

    /// `docker VERB ID WORDS…`
    #[track_caller]
    pub fn call(&self, verb: &str, words: &[&str]) -> Output {
        Cmd::new("docker").args(&[verb, &self.id]).args(words).run()
    }

    /// `docker VERB FLAGS… ID`
    #[track_caller]
    pub fn with_flags(&self, verb: &str, flags: &[&str]) -> Output {
        Cmd::new("docker").arg(verb).args(flags).arg(&self.id).run()
    }

    /// What `docker exec ID COMMAND…` does and prints, which must succeed.
    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> String {
        let (status, stdout, stderr) = api::exec(&self.id, command);
        let line = format!("exec {} {}", self.id, command.join(" "));
        Output { line, status: i32::try_from(status).expect("a status"), stdout, stderr }.ok()
    }

    /// A part of `docker inspect`, such as `.State.Pid`; as JSON unless it is text.
    #[track_caller]
    pub fn inspect(&self, part: &str) -> String {
        let all = api::ask("GET", &format!("/containers/{}/json", self.id), None).json();
        match all.pointer(&part.replace('.', "/")) {
            Some(Value::String(text)) => text.clone(),
            Some(found) => found.to_string(),
            None => panic!("there is no {part} in {all}"),
        }
    }

    /// The PID of the init process on the host, after the process runs its own program; 0 if there is none.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let pid = self.inspect(".State.Pid").parse().expect("a pid");
        has_begun(pid);
        pid
    }

    /// Parts of `.State` of `docker inspect`.
    #[track_caller]
    pub fn state(&self, parts: &[&str]) -> String {
        let part = |part: &&str| self.inspect(&format!(".State.{part}"));
        parts.iter().map(part).collect::<Vec<_>>().join(" ")
    }

    /// What `docker stop --time=0` does, and waits until the runtime has deleted the container.
    #[track_caller]
    pub fn stop(&self) {
        api::ask("POST", &format!("/containers/{}/stop?t=0", self.id), None).ok();
        self.is_released();
    }

    /// Waits until the runtime's `delete` has ended. dockerd waits two seconds for `delete`, and then calls the container
    /// stopped or removed, even if `delete` still runs.
    #[track_caller]
    pub fn is_released(&self) {
        is_released(&self.id);
    }

    /// Waits until `docker inspect` says so.
    #[track_caller]
    pub fn becomes(&self, status: &str) {
        wait_for(&format!("container {} is {status}", self.id), || {
            (self.inspect(".State.Status") == status).then_some(())
        });
    }

    /// The record that sharedroot has of the running container.
    ///
    /// # Panics
    /// If there is not exactly one record.
    #[track_caller]
    pub fn record(&self) -> Value {
        record(&self.id)
    }

    /// The log that containerd's shim gave the runtime; with a shim of ours containerd's own, which has the shims' messages.
    #[track_caller]
    pub fn runtime_log(&self) -> String {
        if shim::is_meant() {
            return fs::read_to_string("/var/log/containerd.log").expect("read containerd's log");
        }
        let name = format!("*/{}/log.json", self.id);
        let found = run(&["find", "/run/docker/containerd", "/run/containerd", "-path", &name]);
        let path = found.stdout.lines().next().map(PathBuf::from);
        let path = path.unwrap_or_else(|| panic!("no log.json of {}: {found}", self.id));
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // A test may have removed it.
        let _ = api::ask("DELETE", &format!("/containers/{}?force=1&v=1", self.id), None);
        if !std::thread::panicking() {
            self.is_released();
        }
    }
}

/// A new image: busybox and one file. Dropping this value removes the image.
#[derive(Debug)]
pub struct FreshImage(pub String);

impl FreshImage {
    /// Makes an image with one layer, by `docker import`.
    #[track_caller]
    pub fn new() -> Self {
        Self::with("/etc/unique", "")
    }

    /// As [`new`](Self::new), with one more file of the given text.
    #[track_caller]
    pub fn with(path: &str, text: &str) -> Self {
        Self::made(|rootfs| {
            if path != "/etc/unique" {
                fs::write(rootfs.join(path.trim_start_matches('/')), text).expect("write a file");
            }
        })
    }

    /// As [`new`](Self::new), with the files that `more` makes in the root file system.
    #[track_caller]
    pub fn made(more: impl FnOnce(&Path)) -> Self {
        Self::empty(|rootfs| {
            make_rootfs(rootfs);
            more(rootfs);
        })
    }

    /// Makes an image of the tree that `make` makes. `make` gets a path that does not exist, and must make an `etc` in it.
    #[track_caller]
    pub fn empty(make: impl FnOnce(&Path)) -> Self {
        only_in_lab();
        let (name, dir) = (unique_name("image"), TempDir::new("import"));
        let rootfs = dir.0.join("rootfs");
        make(&rootfs);
        fs::write(rootfs.join("etc/unique"), &name).expect("write a file of the rootfs");
        let tar = dir.0.join("rootfs.tar");
        let tar = tar.to_str().expect("a path of ASCII");
        out(&[
            "tar",
            "--create",
            "--file",
            tar,
            "--directory",
            rootfs.to_str().expect("ASCII"),
            ".",
        ]);
        docker(&["import", tar, &name]).ok();
        Self(name)
    }

    /// The name for `docker run`.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The directory of the image's only layer.
    #[track_caller]
    pub fn layer_dir(&self) -> PathBuf {
        docker(&["inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", &self.0]).ok().into()
    }
}

impl Default for FreshImage {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for FreshImage {
    fn drop(&mut self) {
        Cmd::new("docker").args(&["rmi", "--force", &self.0]).run();
    }
}

/// The record that `create` wrote of the container `id`.
///
/// # Panics
/// If there is not exactly one record.
#[track_caller]
pub fn record(id: &str) -> Value {
    let found: Vec<_> =
        directories(id).map(|dir| dir.join("record.json")).filter(|path| path.exists()).collect();
    assert_eq!(found.len(), 1, "records of {id}: {found:?}");
    let text = fs::read_to_string(&found[0]).expect("read a record");
    serde_json::from_str(&text).expect("a record is JSON")
}

/// As [`Container::is_released`], for a container of any engine.
#[track_caller]
pub fn is_released(id: &str) {
    wait_for(&format!("sharedroot has released {id}"), || {
        (!directories(id).any(|dir| dir.exists())).then_some(())
    });
}

/// The paths where a container's record may be: in each caller's state directory.
fn directories(id: &str) -> impl Iterator<Item = PathBuf> {
    let roots = fs::read_dir(format!("{RUN_DIR}/containers")).into_iter().flatten().flatten();
    roots.map(move |root| root.path().join(id))
}

/// The flags of `docker run` for the two kinds of root.
pub const KINDS: [&[&str]; 2] = [&["--read-only"], &[]];

/// `docker run --rm` of busybox, with the runtime of the environment.
#[track_caller]
pub fn busybox(flags: &[&str], script: &str) -> Output {
    docker_run(&runtime(), &[flags, &["busybox", "sh", "-c", script]].concat())
}

/// A container of busybox that sleeps.
#[track_caller]
pub fn asleep(flags: &[&str]) -> Container {
    Container::generic(&[flags, &["busybox", "sleep", "1000"]].concat())
}
