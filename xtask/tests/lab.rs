//! Evidence decides how a guest ended: with a script that hangs, a kernel that panics, and a kernel that does not answer.
//!
//! `hack/test` runs this after the lab is built. The test boots guests itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A directory for one test. The guest's directory is in it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lab-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Runs `hack/lab run` with that script, and `seconds` as its limit.
    fn command(&self, script: &str, seconds: u32) -> Command {
        let path = self.0.join("script");
        fs::write(&path, script).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let limit = seconds.to_string();
        command.args([
            "lab-run",
            "--no-docker",
            "--program",
            "none",
            "--mem",
            "1",
            "--limit",
            &limit,
        ]);
        command.arg("--share").arg(&self.0).arg(&path);
        // cargo starts a test in the crate's folder, and not in the repository's.
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
        command.env("TMPDIR", &self.0);
        command
    }

    /// Waits until the script has printed that it runs, and returns the guest's main process.
    fn main_process(&self) -> String {
        let end = Instant::now() + Duration::from_secs(60);
        while !self.0.join("up").exists() {
            assert!(Instant::now() < end, "the guest does not come up");
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut found = fs::read_dir(&self.0).unwrap().flatten();
        let guest = found.find(|e| e.file_name().to_string_lossy().starts_with("sharedroot-lab."));
        fs::read_to_string(guest.unwrap().path().join("uml/pid")).unwrap().trim().to_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The exit code and the output.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// The log of the guest's kernel.
fn console(text: &str) -> String {
    let path = text.lines().find_map(|line| line.strip_prefix("lab: console of the guest: "));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    String::from_utf8_lossy(&fs::read(root.join(path.unwrap())).unwrap()).into_owned()
}

#[test]
fn streams_and_exit_code_are_the_scripts() {
    let place = Place::new("status");
    let output = place.command("echo to stdout; echo to stderr >&2; exit 7", 60).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, b"to stdout\n");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("to stderr\n"));
}

#[test]
fn a_script_that_hangs_is_no_fault_of_the_kernel() {
    let place = Place::new("hang");
    let (code, text) = said(&place.command("echo begun; exec sleep 999", 15).output().unwrap());
    assert_eq!(code, Some(124), "{text}");
    assert!(text.starts_with("begun\n") && text.contains("its kernel is well"), "{text}");
    let console = console(&text);
    // The guest's list of its processes, and the evidence from its kernel and from this machine.
    for word in ["sleep 999", "lab: sysrq t", "lab: processor time of the guest's main process"] {
        assert!(console.contains(word), "{word} is not in {console}");
    }
}

#[test]
fn a_kernel_that_panics_says_so() {
    let place = Place::new("panic");
    let script = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger; sleep 999";
    let (code, text) = said(&place.command(script, 60).output().unwrap());
    assert_eq!(code, Some(125), "{text}");
    assert!(text.contains("the guest broke: its kernel said \"Kernel panic"), "{text}");
}

#[test]
fn a_kernel_that_does_not_answer_is_broken() {
    let place = Place::new("mute");
    let guest = place.command("touch /share/up; exec sleep 999", 20);
    let (code, text) = std::thread::scope(|scope| {
        let mut guest = guest;
        let guest = scope.spawn(move || guest.output().unwrap());
        let stopped = Command::new("kill").args(["-STOP", &place.main_process()]).status();
        assert!(stopped.unwrap().success());
        said(&guest.join().unwrap())
    });
    assert_eq!(code, Some(125), "{text}");
    assert!(text.contains("its kernel does not answer"), "{text}");
}
