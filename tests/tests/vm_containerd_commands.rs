//! containerd's commands on a container of its own. Generic: passes with `RUNTIME=runc`, too.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200 --shim long

use std::fs;

use sharedroot_tests::command::{Cmd, Output, out, run, unique_name};
use sharedroot_tests::docker::{ctr_runtime, runtime};
use sharedroot_tests::kernel_view::{cgroup_file, confinement, confinement_of, traps};
use sharedroot_tests::lab::{TempDir, only_in_lab, wait_for};

const IMAGE: &str = "docker.io/library/busybox:latest";
/// Nothing forks while a signal comes: User-Mode Linux panics where a fork is cut short by a signal.
const UNTIL_TERM: &str = "trap 'exit 7' TERM; sleep 1000 & wait";

fn ctr(words: &[&str]) -> Output {
    Cmd::new("ctr").args(words).run()
}

/// Brings Docker's busybox into containerd's own store.
fn import() {
    only_in_lab();
    if ctr(&["image", "list", "-q"]).ok().contains(IMAGE) {
        return;
    }
    let dir = TempDir::new("image");
    let tar = dir.0.join("busybox.tar");
    let tar = tar.to_str().expect("a path of text");
    out(&["docker", "save", "-o", tar, "busybox"]);
    ctr(&["image", "import", tar]).ok();
}

/// A container whose init ends with 7 on TERM; dropping it removes it.
struct Task(String);

impl Task {
    #[track_caller]
    fn new(flags: &[&str]) -> Self {
        import();
        let task = Self(unique_name("ctr"));
        let (runtime, command) =
            (ctr_runtime(&runtime()), [IMAGE, &task.0, "sh", "-c", UNTIL_TERM]);
        ctr(&[&["run", "-d", &runtime[0], &runtime[1]], flags, &command].concat()).ok();
        task
    }

    /// `ctr task VERB FLAGS… ID WORDS…`
    #[track_caller]
    fn call(&self, verb: &str, flags: &[&str], words: &[&str]) -> Output {
        ctr(&[&["task", verb], flags, &[&self.0], words].concat())
    }

    #[track_caller]
    fn exec(&self, command: &[&str]) -> Output {
        let id = unique_name("exec");
        self.call("exec", &["--exec-id", &id], command)
    }

    /// Its line in `ctr task list`: name, pid, status.
    #[track_caller]
    fn line(&self) -> Vec<String> {
        let list = ctr(&["task", "list"]).ok();
        let line = list.lines().find(|line| line.starts_with(&self.0)).expect("the task");
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[track_caller]
    fn pid(&self) -> i32 {
        self.line()[1].parse().expect("a pid")
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.call("rm", &["--force"], &[]);
        ctr(&["container", "rm", &self.0]);
    }
}

#[test]
fn vm_run_to_the_end_gives_the_exit_code() {
    import();
    for flags in [&["--read-only"][..], &[]] {
        let (runtime, name) = (ctr_runtime(&runtime()), unique_name("ctr"));
        // ctr closes the streams when it hears of the end, whether it has read all or not: so the end waits for that.
        let dir = TempDir::new("streams");
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| dir.0.join(name));
        let script = "trap 'exit 5' TERM; sleep 1000 & echo said; echo away >&2; wait";
        let words = ["run", "--rm", &runtime[0], &runtime[1]];
        let mut run = std::process::Command::new("ctr")
            .args([&words, flags, &[IMAGE, &name, "sh", "-c", script]].concat())
            .stdout(fs::File::create(&stdout).expect("create a file"))
            .stderr(fs::File::create(&stderr).expect("create a file"))
            .spawn()
            .expect("start ctr");
        let said = || [&stdout, &stderr].map(|file| fs::read_to_string(file).expect("read it"));
        wait_for("it has said all", || (said() == ["said\n", "away\n"]).then_some(()));
        ctr(&["task", "kill", "--signal", "SIGTERM", &name]).ok();
        let ended = run.wait().expect("wait for ctr");
        assert_eq!((ended.code(), said()), (Some(5), ["said\n", "away\n"].map(str::to_owned)));
    }
}

#[test]
fn vm_exec_is_inside_and_confined() {
    let task = Task::new(&["--read-only"]);
    assert_eq!(
        task.exec(&["cat", "/proc/1/cmdline"]).ok().replace('\0', " "),
        format!("sh -c {UNTIL_TERM} ")
    );
    let status = task.exec(&["cat", "/proc/self/status"]).ok();
    assert_eq!(confinement(&status), confinement_of(task.pid()));
    task.exec(&["sh", "-c", "exit 9"]).fails(9);
    let no_program = task.exec(&["/no/such/program"]);
    assert!(
        no_program.status != 0 && no_program.stderr.contains("/no/such/program"),
        "{no_program}"
    );
}

#[test]
fn vm_kill_and_the_exit_code() {
    let task = Task::new(&[]);
    traps(task.pid(), 15);
    task.call("kill", &["--signal", "SIGTERM"], &[]).ok();
    wait_for("it has ended", || (task.line()[2] == "STOPPED").then_some(()));
    let removed = task.call("rm", &[], &[]);
    assert!(removed.stderr.contains("exit code 7"), "{removed}");
}

#[test]
fn vm_pause_and_resume() {
    let task = Task::new(&["--read-only"]);
    task.call("pause", &[], &[]).ok();
    assert_eq!(task.line()[2], "PAUSED");
    assert!(cgroup_file(task.pid(), "cgroup.events").contains("frozen 1"));
    task.call("resume", &[], &[]).ok();
    assert_eq!(task.line()[2], "RUNNING");
    assert_eq!(task.exec(&["echo", "thawed"]).ok(), "thawed");
}

#[test]
fn vm_processes_and_metrics() {
    let task = Task::new(&["--memory-limit", "67108864"]);
    let pid = task.pid().to_string();
    let processes = task.call("ps", &[], &[]).ok();
    assert!(
        processes.lines().any(|line| line.split_whitespace().next() == Some(&pid)),
        "{processes}"
    );
    assert_eq!(cgroup_file(task.pid(), "memory.max"), "67108864");
    let metrics = task.call("metrics", &["--format", "json"], &[]).json();
    let used = metrics.pointer("/memory/usage").and_then(serde_json::Value::as_u64);
    assert!(used.is_some_and(|bytes| bytes > 0 && bytes <= 67_108_864), "{metrics}");
    assert!(metrics.pointer("/pids/current").is_some(), "{metrics}");
}

#[test]
fn vm_a_terminal() {
    let task = Task::new(&["--read-only"]);
    let line = format!("ctr task exec --tty --exec-id tty {} sh -c 'tty; exit 8'", task.0);
    let said = run(&["script", "--quiet", "--return", "--command", &line, "/dev/null"]).fails(8);
    assert!(said.contains("/dev/pts/"), "{said:?}");
}

#[test]
fn vm_events_tell_the_life_of_a_task() {
    import();
    let dir = TempDir::new("events");
    let path = dir.0.join("events");
    let file = fs::File::create(&path).expect("create a file");
    let mut listener = std::process::Command::new("ctr")
        .arg("events")
        .stdout(file)
        .spawn()
        .expect("start ctr events");
    // Its subscription has no sign of its own: the events of containers made until one arrives are that sign.
    let seen = || fs::read_to_string(&path).expect("read the events");
    wait_for("the first event", || {
        drop(Task::new(&[]));
        seen().contains("/tasks/").then_some(())
    });
    let task = Task::new(&["--read-only"]);
    task.exec(&["true"]).ok();
    let name = task.0.clone();
    drop(task);
    let topics =
        ["/tasks/create", "/tasks/start", "/tasks/exec-started", "/tasks/exit", "/tasks/delete"];
    wait_for("every event of it", || {
        let text = seen();
        let lines: Vec<_> = text.lines().filter(|line| line.contains(&name)).collect();
        topics.iter().all(|topic| lines.iter().any(|line| line.contains(topic))).then_some(())
    });
    listener.kill().expect("end the listener");
    listener.wait().expect("wait for the listener");
}

#[test]
fn vm_a_checkpoint_is_refused_and_the_container_lives() {
    // runc and crun refuse it, too: the lab's kernel and its packages have no CRIU.
    let task = Task::new(&["--read-only"]);
    let refused = task.call("checkpoint", &[], &[]);
    assert_ne!(refused.status, 0, "{refused}");
    assert!(refused.stderr.contains("checkpoint") || refused.stderr.contains("criu"), "{refused}");
    assert_eq!(task.exec(&["echo", "alive"]).ok(), "alive");
}
