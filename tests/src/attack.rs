//! The means of an attacker: an image of the attacker's under each kind of root that a container can get, and a process that
//! exchanges a directory and a link as fast as possible.

use std::fs;
use std::io::Write;
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::kernel_view::root_of;
use crate::lab::RUN_DIR;
use crate::runtime::{Container, Runtime};
use crate::stack::{Image, Stacked};

/// A script: what a process that sees another of the same rights, whose number is the only argument, may get of it.
pub const LOOK: &str = r#"
look() { if "$@" > /dev/null 2>&1; then echo "may $*"; fi; }
look busybox readlink /proc/$0/root
look busybox readlink /proc/$0/cwd
look busybox readlink /proc/$0/exe
look busybox readlink /proc/$0/fd/0
look cat /proc/$0/environ
look cat /proc/$0/maps
exit 0"#;

/// A script that notes in `/out` each process that it sees, and whether the way to a directory of the host, its only argument,
/// begins there.
pub const WATCH: &str = r#"
while :; do
    for p in /proc/[0-9]*; do
        [ -e $p/root/$0 ] && echo $p/root >> /out/escapes
        [ -e $p/cwd/$0 ] && echo $p/cwd >> /out/escapes
        for f in $p/fd/*; do [ -e $f/$0 ] && echo $f >> /out/escapes; done
        [ $p != /proc/1 ] && [ -e $p/root/bin ] && echo $p/root >> /out/seen
    done
done"#;

/// A script that opens the executable of the first process that has not the image's, ends the process, and writes to what it has
/// opened. It says in `/volume/said` what it does. The runtime must not be at work then, or the kernel refuses (ETXTBSY): so nobody
/// waits for the script.
pub const CAPTURE: &str = r#"exec > /volume/said 2>&1
for try in $(busybox seq 200); do
    for p in /proc/[0-9]*; do
        exe=$(busybox readlink $p/exe) || continue
        case $exe in */bin/busybox) continue ;; esac
        exec 9< $p/exe || continue
        echo "captured $exe"
        kill -9 ${p#/proc/}
        for again in $(busybox seq 50); do
            if echo overwritten 2>/dev/null > /proc/self/fd/9; then echo "overwritten $exe"; exit; fi
            busybox usleep 20000
        done
        echo overwritten > /proc/self/fd/9
        echo "kept $exe"; exit
    done
    busybox usleep 20000
done
echo "kept: nothing was captured""#;

/// A bundle with a root that the attacker made.
#[derive(Debug)]
pub struct Target {
    /// `not shared`, `private` or `shared`, for messages.
    pub kind: &'static str,
    bundle: Root,
    _image: Option<Image>,
}

#[derive(Debug)]
enum Root {
    Given(Bundle),
    Stacked(Stacked),
}

impl Deref for Target {
    type Target = Bundle;

    fn deref(&self) -> &Bundle {
        match &self.bundle {
            Root::Given(bundle) => bundle,
            Root::Stacked(stacked) => stacked,
        }
    }
}

/// Makes one bundle for each kind of root. `change` makes the attacker's changes in the image's directory.
#[track_caller]
pub fn targets(runtime: &Runtime, command: &[&str], change: impl Fn(&Path)) -> Vec<Target> {
    let given = Bundle::new(runtime, command);
    change(&given.path().join("rootfs"));
    let stacked = [("private", false), ("shared", true)].map(|(kind, readonly)| {
        let image = Image::new();
        change(&image.top());
        let bundle = Root::Stacked(image.bundle(runtime, readonly, command));
        Target { kind, bundle, _image: Some(image) }
    });
    let mut all = vec![Target { kind: "not shared", bundle: Root::Given(given), _image: None }];
    all.extend(stacked);
    all
}

impl Target {
    /// `create` and `start`, which must succeed. Checks that the root is of the bundle's kind.
    #[track_caller]
    pub fn start<'r>(&self, runtime: &'r Runtime) -> Container<'r> {
        let container = runtime.start(self);
        if runtime.is_sharedroot() {
            let root = root_of(container.pid());
            // A container with CAP_SYS_ADMIN gets an overlay over the base.
            let on_dm = root.is_on_dm() || root.super_options.contains(RUN_DIR);
            assert_eq!(on_dm, self.kind != "not shared", "{}", self.kind);
        }
        container
    }
}

/// Adds a bind mount to a configuration.
pub fn bind(config: &mut Value, source: &str, destination: &str) {
    let mounts = config["mounts"].as_array_mut().expect("mounts are a list");
    mounts.push(json!({ "destination": destination, "source": source, "type": "bind", "options": ["rbind"] }));
}

/// Gives the container a cgroup namespace and a writable mount of its cgroup, so that the container can make cgroups in it.
///
/// # Panics
/// If the configuration has no namespaces, or no mount of cgroups.
#[track_caller]
pub fn own_cgroup(config: &mut Value) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
    namespaces.retain(|namespace| namespace["type"] != "cgroup");
    namespaces.push(json!({ "type": "cgroup" }));
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    let cgroup = mounts.iter_mut().find(|m| m["destination"] == "/sys/fs/cgroup").expect("it");
    cgroup["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
}

/// Adds capabilities to the sets in which a process has and keeps them.
pub fn allow(config: &mut Value, capabilities: &[&str]) {
    for set in ["bounding", "effective", "permitted"] {
        let set = &mut config["process"]["capabilities"][set];
        let all = set.as_array().cloned().unwrap_or_default();
        *set = all.into_iter().chain(capabilities.iter().map(|name| json!(name))).collect();
    }
}

/// A program of the image.
#[track_caller]
pub fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod a program");
}

/// The names in a directory with their file types, for a comparison.
#[track_caller]
pub fn listing(dir: &Path) -> Vec<String> {
    let list = fs::read_dir(dir).unwrap_or_else(|e| panic!("list {}: {e}", dir.display()));
    let mut all: Vec<_> = list
        .flatten()
        .map(|entry| format!("{} {:?}", entry.file_name().display(), entry.file_type().unwrap()))
        .collect();
    all.sort();
    all
}

/// Prints a text that is shown even if the test passes.
pub fn report(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A process that exchanges a directory and a link to another directory, until this value is dropped.
#[derive(Debug)]
pub struct Swapper {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
    link: PathBuf,
}

impl Swapper {
    /// Exchanges the directory `dir` with a link to `outside`, which is made beside `dir`.
    #[track_caller]
    pub fn start(dir: &Path, outside: &Path) -> Self {
        let link = dir.with_extension("link");
        symlink(outside, &link).expect("make a link");
        let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = std::thread::spawn({
            let (stop, swaps) = (stop.clone(), swaps.clone());
            let (dir, link) = (dir.to_owned(), link.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE)
                        .expect("exchange a directory and a link");
                    swaps.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { stop, swaps, thread: Some(thread), link }
    }

    /// How often the process has exchanged the directory and the link.
    pub fn swaps(&self) -> u64 {
        self.swaps.load(Ordering::Relaxed)
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the swapper of {} panicked", self.link.display());
        }
    }
}
