//! containerd that restarts under running tasks, by TERM and by KILL: a writable one goes on, and what ctr does to it
//! afterwards ends as with runc.
//!
//! Guest: --alone --limit 900 --shim long --unstable shim

use std::fs;

use sharedroot_tests::command::{Cmd, Output, out, run, unique_name};
use sharedroot_tests::docker::ctr_runtime;
use sharedroot_tests::kept::nothing_is_kept;
use sharedroot_tests::lab::{TempDir, wait_for};

const IMAGE: &str = "docker.io/library/busybox:latest";

fn ctr(words: &[&str]) -> Output {
    Cmd::new("ctr").args(words).run()
}

/// Brings Docker's busybox into containerd's own store.
fn import() {
    let dir = TempDir::new("image");
    let tar = dir.0.join("busybox.tar");
    let tar = tar.to_str().expect("a path of text");
    out(&["docker", "save", "-o", tar, "busybox"]);
    ctr(&["image", "import", tar]).ok();
}

/// Ends containerd by `signal` and starts it anew; the shims stay.
#[track_caller]
fn restart(signal: &str) {
    let daemon = || run(&["pgrep", "-x", "containerd"]).stdout.lines().next().map(str::to_owned);
    let pid = daemon().expect("containerd runs");
    out(&["kill", signal, &pid]);
    wait_for("containerd is gone", || daemon().is_none().then_some(()));
    out(&["sh", "-c", "setsid containerd >> /var/log/containerd.log 2>&1 < /dev/null &"]);
    wait_for("containerd answers", || (ctr(&["version"]).status == 0).then_some(()));
}

/// A running task with a volume for what it says; dropping it removes it.
struct Task {
    id: String,
    volume: TempDir,
}

impl Task {
    #[track_caller]
    fn run(runtime: &str) -> Self {
        let (id, volume) = (unique_name("ctr"), TempDir::new("volume"));
        let mount = format!("type=bind,src={},dst=/v,options=rbind:rw", volume.str());
        let runtime = ctr_runtime(runtime);
        let script = "echo first > /data; mkdir /made; touch /v/wrote; exec sleep 1000";
        let words = ["run", "-d", &runtime[0], &runtime[1], "--mount", &mount, IMAGE, &id];
        ctr(&[&words[..], &["sh", "-c", script]].concat()).ok();
        let task = Self { id, volume };
        wait_for("it wrote", || task.volume.0.join("wrote").exists().then_some(()));
        task
    }

    /// What a process of the task writes into its volume.
    #[track_caller]
    fn exec(&self, script: &str) -> String {
        let script = format!("({script}) > /v/said 2>&1; touch /v/done");
        let exec = unique_name("exec");
        ctr(&["task", "exec", "--exec-id", &exec, &self.id, "sh", "-c", &script]).ok();
        let done = self.volume.0.join("done");
        wait_for("the exec is done", || done.exists().then_some(()));
        fs::remove_file(done).expect("the mark");
        fs::read_to_string(self.volume.0.join("said")).expect("what it said")
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        ctr(&["task", "rm", "--force", &self.id]);
        ctr(&["container", "rm", &self.id]);
    }
}

/// By one line for each command.
fn seen(task: &Task) -> Vec<String> {
    let status = || {
        let list = ctr(&["task", "list"]).ok();
        let line = list.lines().find(|line| line.starts_with(&task.id)).unwrap_or_default();
        line.split_whitespace().nth(2).unwrap_or_default().to_owned()
    };
    let mut lines = vec![status()];
    lines.push(
        task.exec("stat -c '%a %u' /; cat /data; echo second >> /data; cat /data; ls -d /made"),
    );
    for verb in ["pause", "resume"] {
        lines.push(format!("{verb} {}", ctr(&["task", verb, &task.id]).status));
        lines.push(status());
    }
    lines.push(format!("kill {}", ctr(&["task", "kill", "--signal", "KILL", &task.id]).status));
    wait_for("it has ended", || (status() == "STOPPED").then_some(()));
    lines.push(format!("rm {}", ctr(&["task", "rm", &task.id]).status));
    // The container's snapshot has what the task wrote.
    lines.push(format!("start {}", ctr(&["task", "start", "-d", &task.id]).status));
    lines.push(status());
    lines
}

#[test]
fn vm_a_task_goes_on_under_a_containerd_that_restarts() {
    import();
    let (theirs, ours) = (Task::run("runc"), Task::run("sharedroot"));
    restart("-TERM");
    restart("-KILL");
    assert_eq!(seen(&ours), seen(&theirs));
    let data = ours.exec("cat /data; ls -d /made");
    assert_eq!(data, theirs.exec("cat /data; ls -d /made"));
    drop((ours, theirs));
    nothing_is_kept();
}
