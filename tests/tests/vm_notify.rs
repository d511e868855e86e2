//! A service manager learns that a container is ready (sd_notify(3)), and stops it. Generic: `RUNTIME=runc` must pass too.
//!
//! Guest: --no-docker --systemd

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command};
use std::time::Duration;

use sharedroot_tests::attack::{Target, bind, targets};
use sharedroot_tests::command::{out, run, unique_name};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::runtime::Runtime;

/// What it says first goes to nobody; a hostile container would have the service manager kill another process.
const NOTIFIES: &str = "\
    systemd-notify --no-block MAINPID=1 STATUS=evil ERRNO=5 WATCHDOG=trigger FDSTORE=1
    until [ -e /said/go ]; do sleep 0.1; done
    systemd-notify --no-block --ready STATUS=up MAINPID=1; sleep 1";

/// Bundles whose containers have the guest's own `systemd-notify`.
#[track_caller]
fn notifying(runtime: &Runtime, said: &TempDir, script: &str) -> Vec<Target> {
    let all = targets(runtime, &["sh", "-c", script], |root| {
        for dir in ["said", "usr"] {
            fs::create_dir(root.join(dir)).unwrap();
        }
        for link in ["lib", "lib64"] {
            symlink(format!("usr/{link}"), root.join(link)).unwrap();
        }
    });
    for target in &all {
        target.edit(|config| {
            bind(config, "/usr", "/usr");
            bind(config, said.str(), "/said");
            let env = config["process"]["env"].as_array_mut().unwrap();
            env.retain(|variable| !variable.as_str().unwrap().starts_with("PATH="));
            env.push("PATH=/bin:/usr/bin".into());
        });
    }
    all
}

/// The service manager's end.
struct Manager {
    dir: TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let dir = TempDir::new("manager");
        let socket = UnixDatagram::bind(dir.0.join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        Self { dir, socket }
    }

    fn command(&self, runtime: &Runtime, words: &[&str]) -> Child {
        let mut command = Command::new(runtime.program());
        command.args(["--root", runtime.root()]).args(words);
        command.env("NOTIFY_SOCKET", self.dir.0.join("notify")).spawn().unwrap()
    }

    /// The next message.
    #[track_caller]
    fn hears(&self) -> String {
        let mut text = [0; 4096];
        let length = self.socket.recv(&mut text).expect("a message within two minutes");
        String::from_utf8_lossy(&text[..length]).trim().to_owned()
    }

    #[track_caller]
    fn hears_nothing_more(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let mut text = [0; 4096];
        let more = self.socket.recv(&mut text);
        assert!(
            more.is_err(),
            "{:?}",
            more.map(|n| String::from_utf8_lossy(&text[..n]).into_owned())
        );
    }
}

#[test]
fn vm_run_tells_when_the_container_is_ready() {
    let runtime = Runtime::of_env();
    let said = TempDir::new("said");
    fs::write(said.0.join("go"), "").unwrap();
    for target in notifying(&runtime, &said, NOTIFIES) {
        let manager = Manager::new();
        let words = ["run", "--bundle", target.str(), &unique_name("notify")];
        let mut run = manager.command(&runtime, &words);
        assert_eq!(manager.hears(), "READY=1", "{}", target.kind);
        assert_eq!(manager.hears(), format!("MAINPID={}", run.id()), "{}", target.kind);
        // `run` waits half a minute for a manager that does not read this.
        if runtime.is_sharedroot() {
            assert_eq!(manager.hears(), "BARRIER=1");
        }
        assert_eq!(run.wait().unwrap().code(), Some(0), "{}", target.kind);
        if runtime.is_sharedroot() {
            manager.hears_nothing_more();
        }
    }
}

/// systemd takes a unit for failed whose processes end before it is ready; others may ask and kill meanwhile.
#[test]
fn vm_start_waits_until_the_container_is_ready() {
    let runtime = Runtime::of_env();
    let said = TempDir::new("said");
    for target in notifying(&runtime, &said, NOTIFIES) {
        let _ = fs::remove_file(said.0.join("go"));
        let manager = Manager::new();
        let container = runtime.container(unique_name("notify"));
        let create = ["create", "--bundle", target.str(), &container.id];
        assert!(manager.command(&runtime, &create).wait().unwrap().success(), "{}", target.kind);
        let pid = container.pid();
        let mut start = manager.command(&runtime, &["start", &container.id]);
        container.becomes("running");
        std::thread::sleep(Duration::from_millis(500));
        assert!(start.try_wait().unwrap().is_none(), "{}", target.kind);
        fs::write(said.0.join("go"), "").unwrap();
        assert_eq!(manager.hears(), "READY=1", "{}", target.kind);
        assert_eq!(manager.hears(), format!("MAINPID={pid}"), "{}", target.kind);
        if runtime.is_sharedroot() {
            assert_eq!(manager.hears(), "BARRIER=1");
        }
        assert!(start.wait().unwrap().success(), "{}", target.kind);
    }
}

#[test]
fn vm_start_ends_with_a_container_that_is_never_ready() {
    let runtime = Runtime::of_env();
    let said = TempDir::new("said");
    let script = "systemd-notify --no-block STATUS=up; sleep 1000";
    for target in notifying(&runtime, &said, script) {
        let manager = Manager::new();
        let container = runtime.container(unique_name("notify"));
        let create = ["create", "--bundle", target.str(), &container.id];
        assert!(manager.command(&runtime, &create).wait().unwrap().success());
        let mut start = manager.command(&runtime, &["start", &container.id]);
        container.becomes("running");
        container.call("kill", &["KILL"]).ok();
        assert!(start.wait().unwrap().success(), "{}", target.kind);
        manager.hears_nothing_more();
    }
}

/// The unit that most of its users would write; `systemctl stop` sends TERM to the runtime, which has the container end.
#[test]
fn vm_a_unit_of_systemd_is_ready_and_stops() {
    let runtime = Runtime::of_env();
    let said = TempDir::new("said");
    let script = "trap 'echo stopped > /said/stopped; exit 0' TERM
        sleep 1000 & systemd-notify --no-block --ready; wait";
    for target in notifying(&runtime, &said, script) {
        let (unit, id) = (unique_name("unit"), unique_name("notify"));
        let unit_of = format!("--unit={unit}");
        let program = out(&["which", runtime.program()]);
        let type_of = ["--property=Type=notify", "--property=TimeoutStartSec=120"];
        let command = [&program, "--root", runtime.root(), "run", "--bundle", target.str(), &id];
        out(&[&["systemd-run", &unit_of][..], &type_of, &command].concat());
        let container = runtime.container(id);
        assert_eq!(container.status(), "running", "{}", target.kind);
        out(&["systemctl", "stop", &unit]);
        wait_for("the container is gone", || (!container.exists()).then_some(()));
        let stopped = fs::read_to_string(said.0.join("stopped")).expect("what it said at its end");
        assert_eq!(stopped, "stopped\n", "{}", target.kind);
        fs::remove_file(said.0.join("stopped")).unwrap();
        run(&["systemctl", "reset-failed", &unit]);
    }
}
