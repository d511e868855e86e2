//! What only containerd 2 asks of a shim, and containerd 1.7 that becomes containerd 2 under running tasks. Everything else that is
//! tested of containerd 2 are the tests with `--unstable`.
//!
//! Guest: --engines unstable --long --with shim --alone --limit 900 --takes 60

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Cmd, Output, out};
use sharedroot_tests::engines::has_containerd_2;
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::shim::{IMAGE, RUNTIMES, Task, begin, ctr, install_program};

/// The programs of Debian 13 (`hack/lab.d/guest-init`).
const BEFORE: &str = "/usr/local/lib/debian-13";

#[test]
fn vm_the_guest_has_containerd_2() {
    assert!(has_containerd_2());
    let before = out(&[&format!("{BEFORE}/containerd"), "--version"]);
    assert!(before.contains("containerd 1.7"), "{before}");
}

#[test]
fn vm_the_shim_tells_what_it_is() {
    begin();
    let [theirs, ours] = RUNTIMES.map(|runtime| {
        ctr(&["plugins", "inspect-runtime", &format!("--runtime={runtime}")]).json()
    });
    assert_eq!(theirs["Name"], RUNTIMES[0]);
    assert_eq!(ours["Name"], RUNTIMES[1]);
    let version = out(&["sharedroot", "--version"]);
    let number = ours["Version"]["Version"].as_str().expect("a version");
    assert!(version.contains(number), "{ours} {version}");
}

#[test]
fn vm_containerd_keeps_the_address_of_the_shim() {
    begin();
    let task = Task::run(RUNTIMES[1], &["--read-only"], &["sleep", "1000"]);
    let bundle = Path::new("/run/containerd/io.containerd.runtime.v2.task/default").join(&task.0);
    let text = fs::read_to_string(bundle.join("bootstrap.json")).expect("read what it keeps");
    let kept: Value = serde_json::from_str(&text).expect("JSON");
    let address = fs::read_to_string(bundle.join("address")).expect("read the address");
    assert_eq!(kept, json!({"version": 2, "address": address, "protocol": "ttrpc"}));
}

/// A containerd with directories of its own. Dropping this value ends it.
struct Containerd {
    dir: TempDir,
    programs: &'static str,
    process: Option<Child>,
}

impl Containerd {
    fn new() -> Self {
        Self { dir: TempDir::new("containerd"), programs: BEFORE, process: None }
    }

    fn at(&self, name: &str) -> String {
        self.dir.0.join(name).to_str().expect("a path of text").to_owned()
    }

    /// Kills the containerd that runs, and starts the one in this directory.
    #[track_caller]
    fn is_of(&mut self, programs: &'static str) {
        self.kill();
        self.programs = programs;
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{}\"\n",
            self.at("root"),
            self.at("state"),
            self.at("socket")
        );
        fs::write(self.at("config"), config).expect("write a configuration");
        let log = File::options().append(true).create(true).open(self.at("log"));
        let path = format!("{programs}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let mut command = Command::new(format!("{programs}/containerd"));
        command.args(["--config", &self.at("config")]).env("PATH", path).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log.expect("open a log"));
        self.process = Some(command.spawn().expect("start containerd"));
        wait_for("containerd answers", || (self.ctr(&["version"]).status == 0).then_some(()));
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kill containerd");
            process.wait().expect("wait for containerd");
        }
    }

    #[track_caller]
    fn ctr(&self, words: &[&str]) -> Output {
        let program = format!("{}/ctr", self.programs);
        Cmd::new(&program).args(&["--address", &self.at("socket")]).args(words).run()
    }

    /// The PID and the status of a task.
    #[track_caller]
    fn task(&self, id: &str) -> Option<(i32, String)> {
        let list = self.ctr(&["task", "ls"]).ok();
        let words = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let found = words.into_iter().find(|words| words.first() == Some(&id))?;
        Some((found[1].parse().expect("a pid"), found[2].to_owned()))
    }

    #[track_caller]
    fn run(&self, runtime: &str, id: &str) {
        let words = ["run", "-d", "--runtime", runtime, "--read-only", "--null-io", IMAGE, id];
        self.ctr(&[&words[..], &["sleep", "1000"]].concat()).ok();
    }

    /// What an exec in the task answers.
    #[track_caller]
    fn exec(&self, id: &str, exec: &str) -> (i32, String) {
        let words = ["task", "exec", "--exec-id", exec, id, "sh", "-c", "echo hello; exit 3"];
        let said = self.ctr(&words);
        (said.status, said.stdout)
    }

    #[track_caller]
    fn remove(&self, id: &str) {
        self.ctr(&["task", "kill", "-s", "SIGKILL", id]).ok();
        wait_for("the task has ended", || (self.task(id)?.1 == "STOPPED").then_some(()));
        self.ctr(&["task", "rm", id]).ok();
        self.ctr(&["container", "rm", id]).ok();
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.at("log")).unwrap_or_default());
        }
        self.kill();
    }
}

#[test]
fn vm_containerd_1_becomes_containerd_2_under_running_tasks() {
    install_program();
    let mut containerd = Containerd::new();
    containerd.is_of(BEFORE);
    let tar = containerd.at("busybox.tar");
    out(&["docker", "save", "-o", &tar, "busybox"]);
    containerd.ctr(&["image", "import", &tar]).ok();
    for runtime in RUNTIMES {
        containerd.run(runtime, "first");
        containerd.exec("first", "e1");
        containerd.remove("first");
    }
    let before = Census::take();
    let ids = RUNTIMES.map(|runtime| {
        let id = runtime.replace('.', "-");
        containerd.run(runtime, &id);
        id
    });
    let begun = ids.each_ref().map(|id| containerd.task(id));
    containerd.is_of("/usr/bin");
    let version = containerd.ctr(&["version"]).ok();
    let is_2 = |line: &str| line.trim_start().starts_with("Version:  2.");
    assert_eq!(version.lines().filter(|line| is_2(line)).count(), 2, "{version}");

    let found = ids.each_ref().map(|id| containerd.task(id));
    assert_eq!(found, begun, "the tasks of before, as they were");
    let [theirs, ours] = ids.each_ref().map(|id| containerd.exec(id, "e1"));
    assert_eq!(theirs, (3, "hello\n".to_owned()));
    assert_eq!(ours, theirs);
    let root = root_of(found[1].as_ref().expect("our task").0);
    assert!(root.is_on_dm() && root.has("ro"), "{root:?}");
    ids.iter().for_each(|id| containerd.remove(id));
    before.nothing_left();
}
