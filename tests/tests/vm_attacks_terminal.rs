//! A program that puts something else where its terminal was, while the runtime still has to do with the terminal: a
//! runtime that looks there, as the host's root, gives it away, opens it, or waits for it. Generic: `RUNTIME=runc` must
//! pass too.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::json;
use sharedroot_tests::attack::{Target, bind, targets};
use sharedroot_tests::command::{Cmd, Output};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::runtime::{Container, Runtime};

/// The files of root that user 1000 may only read: one of the image, one of the host in a volume.
const KEPT: [&str; 2] = ["/etc/kept", "/data/kept"];
/// Time for the program after its execve, in microseconds.
const SLOW: &str = "inject=unlink,unlinkat:delay_enter=500000:delay_exit=500000";

/// An exec and its process, which lives as long as somebody holds its terminal.
struct Executed {
    output: Output,
    pid: i32,
    _terminal: UnixListener,
}

impl Executed {
    /// The means are real: another file is where the terminal was.
    #[track_caller]
    fn has_instead(&self, name: &str) {
        wait_for(&format!("process {} has its {name}", self.pid), || {
            let at = fs::read_link(format!("/proc/{}/fd/0", self.pid)).ok()?;
            at.ends_with(name).then_some(())
        });
    }
}

struct Attack<'r> {
    runtime: &'r Runtime,
    target: &'r Target,
    container: Container<'r>,
    volume: TempDir,
    dir: TempDir,
}

impl<'r> Attack<'r> {
    #[track_caller]
    fn on(runtime: &'r Runtime, target: &'r Target) -> Self {
        let (volume, dir) = (TempDir::new("volume"), TempDir::new("console"));
        fs::write(volume.0.join("kept"), "of the host").unwrap();
        Cmd::new("mkfifo")
            .args(&["--mode=666", volume.0.join("fifo").to_str().unwrap()])
            .run()
            .ok();
        target.edit(|config| bind(config, volume.str(), "/data"));
        let container = target.start(runtime);
        Self { runtime, target, container, volume, dir }
    }

    /// `exec` of a script of user 1000 with a terminal, where the runtime gets so slow after each program is executed that
    /// the script always comes first.
    #[track_caller]
    fn exec(&self, script: &str) -> Executed {
        let at = |name: &str| self.dir.0.join(name).to_str().unwrap().to_owned();
        let (process, pid, socket) = (at("process.json"), at("pid"), at("socket"));
        let text = json!({
            "terminal": true, "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 1000, "gid": 1000 },
            "args": ["sh", "-c", format!("{script}; exec sleep 1000 2>/dev/null")],
        });
        fs::write(&process, text.to_string()).unwrap();
        let _ = (fs::remove_file(&socket), fs::remove_file(&pid));
        let terminal = UnixListener::bind(&socket).unwrap();
        let exec = ["--root", self.runtime.root(), "exec", "--detach", "--pid-file", &pid];
        let more = ["--console-socket", &socket, "--process", &process, &self.container.id];
        let output = Cmd::new("strace")
            .args(&["-qq", "-o", "/dev/null", "-e", SLOW])
            .arg(self.runtime.program())
            .args(&exec)
            .args(&more)
            .dir(Path::new("/"))
            .run();
        let pid = fs::read_to_string(&pid).ok().and_then(|pid| pid.trim().parse().ok());
        Executed { output, pid: pid.unwrap_or(0), _terminal: terminal }
    }

    #[track_caller]
    fn owners(&self) -> [u32; 2] {
        let root = format!("/proc/{}/root", self.container.pid());
        KEPT.map(|path| fs::metadata(format!("{root}{path}")).unwrap().uid())
    }
}

#[track_caller]
fn image(root: &Path) {
    fs::create_dir(root.join("data")).unwrap();
    fs::write(root.join("etc/kept"), "of the image").unwrap();
}

#[test]
fn vm_no_file_becomes_the_users_for_being_where_the_terminal_was() {
    let runtime = Runtime::of_env();
    for target in targets(&runtime, &["sleep", "1000"], image) {
        let attack = Attack::on(&runtime, &target);
        for path in KEPT {
            let exec = attack.exec(&format!("exec 0<{path}"));
            let what = format!("{path} on a root {}: {}", attack.target.kind, exec.output);
            assert_eq!(exec.output.status, 0, "{what}");
            exec.has_instead("kept");
            assert_eq!(attack.owners(), [0, 0], "{what}");
        }
        assert_eq!(fs::metadata(attack.volume.0.join("kept")).unwrap().uid(), 0);
    }
}

/// Nor is it opened: to open a FIFO that nobody writes to waits for ever.
#[test]
fn vm_exec_does_not_wait_for_what_is_where_the_terminal_was() {
    let runtime = Runtime::of_env();
    for target in targets(&runtime, &["sleep", "1000"], image) {
        let attack = Attack::on(&runtime, &target);
        let exec = attack.exec("exec 3<>/data/fifo; exec 0</data/fifo; exec 3>&-");
        assert_eq!(exec.output.status, 0, "on a root {}: {}", target.kind, exec.output);
        exec.has_instead("fifo");
    }
}
