//! The benchmark's directory in memory, its bundles, and its cgroup.

use std::fs;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, setrlimit};
use serde_json::{Value, json};
use sharedroot_tests::command::out;
use sharedroot_tests::lab::TempDir;

/// The benchmark's directory, a tmpfs as `/run` is. Dropping this value removes the directory.
#[derive(Debug)]
pub struct Place(TempDir);

/// The cgroup above the cgroups of all containers.
const CGROUP: &str = "sharedroot-bench";
const CGROUPS: &str = "/sys/fs/cgroup";

impl Place {
    /// Changes mounts, so it panics in the mount namespace of the caller.
    pub fn new() -> Self {
        let namespace =
            |of: &str| fs::read_link(format!("/proc/{of}/ns/mnt")).expect("a namespace");
        assert_ne!(
            namespace("self"),
            namespace(&parent_id().to_string()),
            "the benchmark mounts over the cgroup hierarchy: run it by hack/bench runtime"
        );
        let place = Self(TempDir::new("bench"));
        out(&["mount", "-t", "tmpfs", "-o", "mode=700", "bench", place.text()]);
        let top = Path::new(CGROUPS);
        if !top.join("cgroup.controllers").exists() {
            // crun refuses a machine with both cgroup hierarchies.
            out(&["umount", "--recursive", CGROUPS]);
            out(&["mount", "-t", "cgroup2", "cgroup2", CGROUPS]);
        }
        fs::create_dir_all(top.join(CGROUP)).expect("a cgroup for the benchmark");
        place
    }

    pub fn path(&self) -> &Path {
        &self.0.0
    }

    fn text(&self) -> &str {
        self.0.str()
    }

    /// A directory in the benchmark's directory. Creates it if it does not exist.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.path().join(name);
        fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("create {}: {e}", dir.display()));
        dir
    }

    /// The cgroup of a container that no runtime makes.
    pub fn cgroup(&self, name: &str) -> PathBuf {
        Path::new(CGROUPS).join(CGROUP).join(name)
    }

    /// A bundle of runc's own default configuration, read-only, whose process is `program`.
    pub fn bundle(&self, name: &str, root: &Path, program: &str) -> PathBuf {
        let dir = self.dir(name);
        let path = dir.join("config.json");
        out(&["runc", "spec", "--bundle", text(&dir)]);
        let read = fs::read_to_string(&path).expect("read config.json");
        let mut config: Value = serde_json::from_str(&read).expect("config.json is JSON");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!([program]);
        config["root"] = json!({"path": text(root), "readonly": true});
        if !may_lock_memory() {
            config["linux"].as_object_mut().expect("linux").remove("resources");
        }
        config["linux"]["cgroupsPath"] = json!(format!("/{CGROUP}/{name}"));
        fs::write(&path, config.to_string()).expect("write config.json");
        dir
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir(Path::new(CGROUPS).join(CGROUP));
        let unmounted = sharedroot_tests::command::run(&["umount", "--lazy", self.text()]);
        if unmounted.status != 0 {
            eprintln!("{unmounted}");
        }
    }
}

/// Whether this process may raise its limit of locked memory, as libcgroups does before it loads a device program. If root
/// lacks CAP_SYS_RESOURCE, the containers of all runtimes run without `linux.resources`.
pub fn may_lock_memory() -> bool {
    const WANTED: u64 = 128 << 20;
    setrlimit(Resource::RLIMIT_MEMLOCK, WANTED, WANTED).is_ok()
}

/// A path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("the benchmark's paths are ASCII")
}

/// A tree with the two programs and the directories that every configuration mounts on.
pub fn make_tree(tree: &Path, programs: &Path) {
    for dir in ["dev", "proc", "sys"] {
        fs::create_dir_all(tree.join(dir)).expect("make a directory of the tree");
    }
    for program in ["true", "pause"] {
        let from = programs.join(program);
        fs::copy(&from, tree.join(program))
            .unwrap_or_else(|e| panic!("copy {}: {e}", from.display()));
    }
}
