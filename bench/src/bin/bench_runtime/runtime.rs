//! A runtime and its commands, and waiting for a container's end.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, set_child_subreaper, waitid,
};
use serde_json::json;
use sharedroot_bench::{FLOOR, Floor};
use sharedroot_tests::driver::Layered;

use crate::options::Options;
use crate::place::{Place, make_tree, text};

pub const SHARED: &str = "ours";
pub const NOT_SHARED: &str = "ours, rootfs not shared";
pub const CRUN: &str = "crun";
pub const RUNC: &str = "runc";

/// One runtime with its state directory, and one container at a time.
#[derive(Debug)]
pub struct Runtime {
    pub name: &'static str,
    program: PathBuf,
    flags: Vec<String>,
    id: String,
    dir: PathBuf,
    /// Bundles of `true` and of `pause`.
    truth: PathBuf,
    pause: PathBuf,
}

/// All runtimes.
#[derive(Debug)]
pub struct Arms {
    pub all: Vec<Runtime>,
    /// A bundle as the runtimes have.
    pub floor: Floor,
}

impl Arms {
    pub fn new(place: &Place, options: &Options) -> Self {
        set_child_subreaper(Pid::from_raw(std::process::id() as i32)).expect("become a subreaper");
        let image = Layered::new(place.dir("docker"), |layer| make_tree(layer, &options.programs));
        let run_dir = place.dir("run");
        let config = place.path().join("config.toml");
        if options.premounted {
            fs::write(&config, format!("[pool]\nrun_dir = {:?}\n", text(&run_dir)))
                .expect("write a configuration");
            image.mount_base(&run_dir);
        } else {
            fs::write(&config, "").expect("write a configuration");
        }
        let ours = fs::canonicalize(&options.ours)
            .unwrap_or_else(|e| panic!("{}: {e}: build it first", options.ours.display()));
        let with_config = vec!["--config".to_owned(), text(&config).to_owned()];
        let all = [
            (SHARED, ours.clone(), with_config.clone()),
            (NOT_SHARED, ours, with_config),
            (CRUN, "crun".into(), Vec::new()),
            (RUNC, "runc".into(), Vec::new()),
        ];
        let all = all.into_iter().enumerate();
        let all = all.map(|(n, arm)| Runtime::new(place, &image, n, arm)).collect();
        let floor = place.bundle(FLOOR, &image.container(FLOOR), "/true");
        let floor = Floor::new(floor, place.cgroup(FLOOR));
        Self { all, floor }
    }

    pub fn get(&self, name: &str) -> &Runtime {
        self.all.iter().find(|arm| arm.name == name).expect("an arm of that name")
    }
}

impl Runtime {
    fn new(
        place: &Place,
        image: &Layered,
        number: usize,
        (name, program, mut flags): (&'static str, PathBuf, Vec<String>),
    ) -> Self {
        let id = format!("bench-{number}");
        let dir = place.dir(&format!("state-{number}"));
        let (root, log) = (dir.join("root"), dir.join("log"));
        // As Docker calls a runtime.
        flags.extend(
            ["--root", text(&root), "--log", text(&log), "--log-format", "json"].map(str::to_owned),
        );
        let rootfs = image.container(&id);
        let [truth, pause] = ["true", "pause"].map(|program| {
            let bundle = place.bundle(&format!("{id}-{program}"), &rootfs, &format!("/{program}"));
            if name == NOT_SHARED {
                annotate_off(&bundle);
            }
            bundle
        });
        Self { name, program, flags, id, dir, truth, pause }
    }

    /// The runtime's log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.join("pid")
    }

    /// The words of a command: `FLAGS VERB WORDS ID MORE`.
    pub fn words(&self, verb: &str, words: &[&str], more: &[&str]) -> Vec<String> {
        let mut all = vec![text(&self.program).to_owned()];
        all.extend(self.flags.iter().cloned());
        all.extend(
            [&[verb][..], words, &[self.id.as_str()][..], more]
                .concat()
                .into_iter()
                .map(str::to_owned),
        );
        all
    }

    /// `create` of the bundle of `true`.
    pub fn create_true(&self) -> Vec<String> {
        self.words(
            "create",
            &["--bundle", text(&self.truth), "--pid-file", text(&self.pid_file())],
            &[],
        )
    }

    /// `create` of the bundle of `pause`.
    pub fn create_pause(&self) -> Vec<String> {
        self.words(
            "create",
            &["--bundle", text(&self.pause), "--pid-file", text(&self.pid_file())],
            &[],
        )
    }

    pub fn start(&self) -> Vec<String> {
        self.words("start", &[], &[])
    }

    pub fn exec(&self) -> Vec<String> {
        self.words("exec", &[], &["/true"])
    }

    pub fn delete(&self) -> Vec<String> {
        self.words("delete", &[], &[])
    }

    /// Ends `pause` and its container.
    pub fn end(&self) {
        call(&self.words("delete", &["--force"], &[]));
        // The process became a child of this process when its runtime ended.
        while rustix::process::wait(rustix::process::WaitOptions::NOHANG)
            .is_ok_and(|ended| ended.is_some())
        {}
    }

    /// The PID of the init process of the container that was created last.
    pub fn init(&self) -> OwnedFd {
        let pid = fs::read_to_string(self.pid_file()).expect("read the pid file");
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a pid in the pid file");
        pidfd_open(pid, PidfdFlags::empty()).expect("open the init process")
    }
}

/// Runs words that must succeed.
pub fn call(words: &[String]) {
    let run = Command::new(&words[0]).args(&words[1..]).stdin(Stdio::null()).status();
    let status = run.unwrap_or_else(|e| panic!("{words:?}: {e}"));
    assert!(status.success(), "{words:?}: {status}");
}

/// Waits for the end of an init process.
pub fn wait(init: &OwnedFd) {
    use std::os::fd::AsFd;
    waitid(WaitId::PidFd(init.as_fd()), WaitIdOptions::EXITED).expect("wait for init");
}

fn annotate_off(bundle: &Path) {
    let path = bundle.join("config.json");
    let read = fs::read_to_string(&path).expect("read config.json");
    let mut config: serde_json::Value = serde_json::from_str(&read).expect("config.json is JSON");
    config["annotations"] = json!({"dev.sharedroot.mode": "off"});
    fs::write(&path, config.to_string()).expect("write config.json");
}
