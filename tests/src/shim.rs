//! containerd with a shim: ours, or its own with runc. `ctr` is the client.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Once;

use crate::census::Census;
use crate::command::{Cmd, Output, out, unique_name, unique_path};
use crate::lab::{TempDir, only_in_lab, wait_for};

/// The shim beside the test's executable, and where containerd finds it.
const PROGRAM: [&str; 2] = ["/share/containerd-shim-sharedroot-v2", INSTALLED];

/// Where the shim is when it is installed.
pub const INSTALLED: &str = "/usr/local/bin/containerd-shim-sharedroot-v2";

/// The image of all tests.
pub const IMAGE: &str = "docker.io/library/busybox:latest";

/// The runtime type of containerd's own shim, which calls runc, and ours.
pub const RUNTIMES: [&str; 2] = ["io.containerd.runc.v2", "io.containerd.sharedroot.v2"];

/// The state root of the containers of ctr's namespace, with both shims.
pub const STATE_ROOT: &str = "/run/containerd/runc/default";

/// The value of `RUNTIME` with which the suites of Docker, CRI and containerd run with the shim.
pub const WORD: &str = "shim";

/// Whether the suites run with the shim.
pub fn is_meant() -> bool {
    std::env::var("RUNTIME").is_ok_and(|name| name == WORD)
}

/// Installs the shim where containerd finds it.
#[track_caller]
pub fn install_program() {
    static ONCE: Once = Once::new();
    only_in_lab();
    ONCE.call_once(|| {
        // A file that is executed cannot be written, and another test may have left a server.
        let part = format!("{}.part", PROGRAM[1]);
        fs::copy(PROGRAM[0], &part).expect("copy the shim; hack/build --shim makes it");
        fs::set_permissions(&part, Permissions::from_mode(0o755)).expect("chmod the shim");
        fs::rename(part, PROGRAM[1]).expect("rename the shim");
        if Path::new("/sys/fs/selinux/enforce").exists() {
            out(&["restorecon", PROGRAM[1]]);
        }
    });
}

/// Installs the shim, and brings Docker's busybox into containerd's own store: once for all tests of a program, because that takes
/// seconds.
#[track_caller]
pub fn install() {
    static ONCE: Once = Once::new();
    install_program();
    ONCE.call_once(import);
}

/// Brings Docker's busybox into containerd's own store.
#[track_caller]
pub fn import() {
    let dir = TempDir::new("image");
    let tar = dir.0.join("busybox.tar");
    let tar = tar.to_str().expect("a path of text");
    out(&["docker", "save", "-o", tar, "busybox"]);
    ctr(&["image", "import", tar]).ok();
}

/// A table of one runtime.
pub type Rows = Vec<(String, String)>;

/// Does the same with both shims, and compares line by line.
#[track_caller]
pub fn beside(work: impl Fn(&str) -> Rows) {
    begin();
    let [theirs, ours] = RUNTIMES.map(|runtime| {
        let before = Census::take();
        let rows = work(runtime);
        nothing_runs();
        before.nothing_left();
        rows
    });
    same(&ours, &theirs);
}

/// Compares line by line.
#[track_caller]
pub fn same(ours: &Rows, theirs: &Rows) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours, theirs, "ours, then that of containerd's own shim");
    }
    assert_eq!(ours.len(), theirs.len());
}

/// The first container of each runtime makes what stays: directories, and the base of the image.
#[track_caller]
pub fn begin() {
    static ONCE: Once = Once::new();
    install();
    ONCE.call_once(|| {
        for runtime in RUNTIMES {
            drop(Task::run(runtime, &["--read-only"], &["true"]));
        }
        nothing_runs();
    });
}

/// Waits until containerd has no task.
#[track_caller]
pub fn nothing_runs() {
    wait_for("no task is left", || ctr(&["task", "ls", "-q"]).ok().is_empty().then_some(()));
}

/// Kills containerd, does something, and starts containerd anew.
#[track_caller]
pub fn without_containerd(act: impl FnOnce()) {
    let daemon = || Cmd::new("pgrep").args(&["-x", "containerd"]).run().stdout;
    out(&["kill", "-KILL", daemon().lines().next().expect("containerd runs")]);
    wait_for("containerd is gone", || daemon().is_empty().then_some(()));
    act();
    out(&["sh", "-c", "setsid containerd >> /var/log/containerd.log 2>&1 < /dev/null &"]);
    wait_for("containerd answers", || (ctr(&["version"]).status == 0).then_some(()));
}

/// The status and the text of a command, without the task's name and times.
#[must_use]
pub fn told(output: &Output, task: &Task) -> String {
    let text = format!("{}: {}{}", output.status, output.stdout, output.stderr);
    // ctr's own warnings have the time.
    let words = text.split_inclusive(char::is_whitespace).filter(|word| !word.starts_with("time="));
    words.collect::<String>().replace(&task.0, "ID")
}

/// Calls ctr.
#[track_caller]
pub fn ctr(words: &[&str]) -> Output {
    Cmd::new("ctr").args(words).run()
}

/// A container with a task. Dropping this value removes both.
#[derive(Debug)]
pub struct Task(pub String);

impl Task {
    /// A name for a container that a test makes.
    pub fn named() -> Self {
        Self(unique_name("shim"))
    }

    /// `ctr run -d`.
    #[track_caller]
    pub fn run(runtime: &str, flags: &[&str], command: &[&str]) -> Self {
        let task = Self::named();
        let begin = ["run", "-d", "--runtime", runtime];
        ctr(&[&begin[..], flags, &[IMAGE, &task.0], command].concat()).ok();
        task
    }

    /// The status in `ctr task ls`; none if there is no task.
    #[track_caller]
    pub fn status(&self) -> Option<String> {
        let list = ctr(&["task", "ls"]).ok();
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(&self.0))?;
        line.split_whitespace().nth(2).map(str::to_owned)
    }

    /// The init process.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let list = ctr(&["task", "ls"]).ok();
        let line = list.lines().find(|line| line.starts_with(&self.0)).expect("the task");
        line.split_whitespace().nth(1).and_then(|pid| pid.parse().ok()).expect("a pid")
    }

    /// The process that serves the task: with both shims the parent of the init process.
    #[track_caller]
    pub fn server(&self) -> i32 {
        let pid = self.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
        parent.and_then(|parent| parent.parse().ok()).expect("a parent")
    }

    /// The exit status and the output of `sh -c SCRIPT` in the task.
    #[track_caller]
    pub fn exec(&self, script: &str) -> String {
        let exec = ["task", "exec", "--exec-id", &unique_name("e"), &self.0, "sh", "-c", script];
        let said = ctr(&exec);
        format!("{} {}{}", said.status, said.stdout, said.stderr).trim_end().to_owned()
    }

    /// Waits until the task has the status.
    #[track_caller]
    pub fn becomes(&self, status: Option<&str>) {
        wait_for(&format!("task {} is {status:?}", self.0), || {
            (self.status().as_deref() == status).then_some(())
        });
    }

    /// The processes of our shim that serve the container, by the word of their command line: the server, and the spawner that
    /// was forked from it.
    #[track_caller]
    pub fn shims(&self) -> Vec<i32> {
        let pattern = format!("^containerd-shim-sharedroot-v2 [a-z]+ default {} ", self.0);
        let found = Cmd::new("pgrep").args(&["-f", &pattern]).run().stdout;
        let mut pids: Vec<i32> = found.lines().map(|pid| pid.parse().expect("a pid")).collect();
        pids.sort_unstable();
        pids
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        ctr(&["task", "rm", "--force", &self.0]);
        ctr(&["container", "rm", &self.0]);
    }
}

/// `ctr events`, from now on.
#[derive(Debug)]
pub struct Events {
    child: Child,
    file: std::path::PathBuf,
}

impl Events {
    /// Listens. Events before the first one that is seen may be lost, so this makes one.
    #[track_caller]
    pub fn listen() -> Self {
        let file = unique_path("events");
        let to = fs::File::create(&file).expect("make a file");
        let child = Command::new("ctr")
            .arg("events")
            .stdin(Stdio::null())
            .stdout(to)
            .stderr(Stdio::null())
            .spawn()
            .expect("start ctr");
        let events = Self { child, file };
        wait_for("events come", || {
            ctr(&["image", "label", IMAGE, &format!("listen={}", unique_name("l"))]).ok();
            (!events.text().is_empty()).then_some(())
        });
        events
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).expect("read a file")
    }

    /// The events about tasks of the container: topic, and what they say without numbers that differ. Waits until there are
    /// `count` of them.
    #[track_caller]
    pub fn of(&self, task: &Task, count: usize) -> Vec<String> {
        let found = || -> Vec<String> {
            let text = self.text();
            let lines = text.lines().filter(|line| line.contains(" /tasks/"));
            lines.filter_map(|line| said(line, &task.0)).collect()
        };
        wait_for(&format!("{count} events of {}", task.0), || {
            (found().len() >= count).then_some(())
        });
        found()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.file);
    }
}

/// `TOPIC EXEC STATUS`, and whether there is a process, of a line of `ctr events`.
fn said(line: &str, id: &str) -> Option<String> {
    let (head, json) = line.split_at(line.find('{')?);
    let topic = head.split_whitespace().find(|word| word.starts_with("/tasks/"))?;
    let event: serde_json::Value = serde_json::from_str(json).ok()?;
    if event["container_id"] != id {
        return None;
    }
    let exec = [&event["exec_id"], &event["id"]]
        .into_iter()
        .filter_map(|name| name.as_str())
        .find(|name| !name.is_empty() && *name != id);
    let (status, pid) = (&event["exit_status"], event["pid"].as_u64().unwrap_or(0) > 0);
    let has_time = event["exited_at"].as_str().is_some_and(|at| !at.starts_with("0001"));
    Some(format!("{topic} exec {exec:?} status {status} process {pid} time {has_time}"))
}
