//! Pods by the runtime's command line, on roots as Docker's overlay2 driver leaves them, without Docker.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal,
    set_child_subreaper, waitid,
};
use serde_json::{Value, json};
use sharedroot_bench::Clock;
use sharedroot_tests::command::out;
use sharedroot_tests::driver::{Layered, Overlay};
use sharedroot_tests::lab::{STATE_DIR, TempDir};

use crate::mode::Mode;
use crate::options::Options;
use crate::pods::Pods;

/// The cgroup of all pods.
const CGROUP: &str = "density";

/// The images, on the disk of the pool's store.
#[derive(Debug)]
pub struct Images {
    all: Vec<Layered>,
    layers: Vec<PathBuf>,
}

impl Images {
    pub fn new(options: &Options) -> Self {
        let one = |number| {
            let docker = Path::new(STATE_DIR).join("bench").join(format!("docker-{number}"));
            Layered::numbered(docker, number, |layer| fill(layer, &options.programs))
        };
        let all: Vec<Layered> = (0..options.images).map(one).collect();
        let layers = all.iter().map(Layered::layer).collect();
        Self { all, layers }
    }
}

/// The content of an image: the program, and the directories to mount on.
fn fill(layer: &Path, programs: &Path) {
    make_directories(layer);
    let pause = programs.join("pause");
    fs::copy(&pause, layer.join("pause"))
        .unwrap_or_else(|e| panic!("copy {}: {e}", pause.display()));
}

/// The directories that every configuration mounts on.
pub fn make_directories(root: &Path) {
    for dir in ["dev", "proc", "sys"] {
        fs::create_dir(root.join(dir)).expect("make a directory of the image");
    }
}

/// The cgroup of all pods, with the controllers that Docker delegates.
pub fn make_cgroup() -> String {
    let cgroup = format!("/sys/fs/cgroup/{CGROUP}");
    fs::create_dir_all(&cgroup).expect("make the cgroup");
    fs::write(format!("{cgroup}/cgroup.subtree_control"), "+cpu +memory +pids +io")
        .expect("delegate controllers");
    cgroup
}

/// The pods of one mode, made by one runtime.
pub struct Oci<'i> {
    images: &'i Images,
    mode: Mode,
    flags: Vec<String>,
    /// Bundles, state and logs, in memory as `/run` is.
    dir: TempDir,
    cgroup: String,
    pods: Vec<Pod>,
}

struct Pod {
    id: String,
    bundle: PathBuf,
    overlay: Overlay,
}

impl<'i> Oci<'i> {
    /// Does for every pod what an engine does before it calls a runtime.
    pub fn prepare(images: &'i Images, mode: Mode, number: usize, options: &Options) -> Self {
        set_child_subreaper(Pid::from_raw(std::process::id() as i32)).expect("become a subreaper");
        let cgroup = make_cgroup();
        let dir = TempDir::new("density");
        let path = |name: &str| format!("{}/{name}", dir.str());
        // As Docker calls a runtime.
        let mut flags = ["--root", &path("state"), "--log", &path("log"), "--log-format", "json"]
            .map(str::to_owned)
            .to_vec();
        if let (true, Some(engine)) = (mode.is_ours(), &options.engine) {
            flags.extend(["--engine".to_owned(), engine.clone()]);
        }
        out(&["runc", "spec", "--bundle", dir.str()]);
        let spec = fs::read(path("config.json")).expect("read config.json");
        let spec: Value = serde_json::from_slice(&spec).expect("config.json is JSON");
        let mut pods = Self { images, mode, flags, dir, cgroup, pods: Vec::new() };
        for pod in 0..number {
            let pod = pods.pod(pod, spec.clone());
            pods.pods.push(pod);
        }
        pods
    }

    fn pod(&self, number: usize, mut spec: Value) -> Pod {
        let id = format!("{}-{number}", self.mode.name().replace('+', "-"));
        let image = &self.images.all[number % self.images.all.len()];
        let overlay = image.unmounted(&id);
        let root = if self.mode == Mode::Plain { image.layer() } else { overlay.merged.clone() };
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["/pause"]);
        spec["root"] = json!({"path": root, "readonly": self.mode.readonly()});
        spec["linux"]["cgroupsPath"] = json!(format!("/{CGROUP}/{id}"));
        if self.mode.is_off() {
            spec["annotations"] = json!({"dev.sharedroot.mode": "off"});
        }
        let bundle = self.dir.0.join(&id);
        fs::create_dir(&bundle).expect("make a bundle");
        fs::write(bundle.join("config.json"), spec.to_string()).expect("write config.json");
        Pod { id, bundle, overlay }
    }

    /// `FLAGS VERB WORDS… ID`, which must succeed.
    fn call(&self, verb: &str, words: &[&str], pod: &Pod) {
        let errors = pod.bundle.join(verb);
        let file = File::create(&errors).expect("make a file for what the runtime says");
        let mut command = Command::new(self.mode.program());
        command.args(&self.flags).arg(verb).args(words).arg(&pod.id);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let status = command.status().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        assert!(
            status.success(),
            "{command:?}: {status}: {}",
            fs::read_to_string(&errors).unwrap_or_default()
        );
    }
}

impl Pods for Oci<'_> {
    fn create(&self, pod: usize) -> Clock {
        let (mut clock, pod) = (Clock::default(), &self.pods[pod]);
        let Overlay { merged, options, .. } = &pod.overlay;
        if self.mode.has_mount() {
            let (from, flags) = (Some("overlay"), MsFlags::empty());
            clock.step("mount", || {
                mount(from, merged, from, flags, Some(options.as_str())).expect("mount an overlay");
            });
        }
        let (bundle, pid_file) = (text(&pod.bundle), pod.bundle.join("pid"));
        let words = ["--bundle", bundle, "--pid-file", text(&pid_file)];
        clock.step("create", || self.call("create", &words, pod));
        clock.step("start", || self.call("start", &[], pod));
        clock
    }

    fn delete(&self, pod: usize) -> Clock {
        let mut clock = Clock::default();
        let init = Pid::from_raw(self.pid(pod)).expect("a process id");
        let pod = &self.pods[pod];
        clock.step("kill, wait", || {
            let init = pidfd_open(init, PidfdFlags::empty()).expect("open the init process");
            pidfd_send_signal(&init, Signal::KILL).expect("kill it");
            waitid(WaitId::PidFd(init.as_fd()), WaitIdOptions::EXITED).expect("wait for it");
        });
        clock.step("delete", || self.call("delete", &[], pod));
        if self.mode.has_mount() {
            clock.step("umount", || {
                umount2(&pod.overlay.merged, MntFlags::empty()).expect("unmount the overlay");
            });
        }
        clock
    }

    fn pid(&self, pod: usize) -> i32 {
        let path = self.pods[pod].bundle.join("pid");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim().parse().expect("a process id")
    }

    fn warm(&self) {
        self.pods.iter().flat_map(|pod| &pod.overlay.dirs).for_each(|dir| read_all(dir));
    }

    fn cgroup(&self) -> &str {
        &self.cgroup
    }

    fn layers(&self) -> &[PathBuf] {
        &self.images.layers
    }

    fn list(&self) -> Option<f64> {
        None
    }

    fn shim(&self) -> Option<&'static str> {
        None
    }
}

impl Drop for Oci<'_> {
    /// Removes what the driver made for a pod.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.pods.iter().for_each(|pod| pod.overlay.remove());
        }
    }
}

fn read_all(dir: &Path) {
    for entry in fs::read_dir(dir).expect("list a directory of the driver").flatten() {
        if entry.file_type().expect("a type").is_dir() {
            read_all(&entry.path());
        } else {
            fs::read(entry.path()).expect("read a file of the driver");
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the benchmark's paths are ASCII")
}
