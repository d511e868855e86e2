//! The programs of the OCI runtime-tools validation suite, one after another, on the machine that this process runs on.
//!
//! A program calls `RUNTIME` and prints its results as TAP. It needs `runtimetest` and the tar file of a root file system in
//! its working directory. Anything that a failed program leaves would fail the next program, so it is removed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sharedroot_tests::command::{Cmd, run, unique_name};
use sharedroot_tests::lab::TempDir;

use crate::outcome::{Test, Verdict, one_line};
use crate::runtime::Runtime;
use crate::tap::Tap;

/// The time limit of a program. The slowest program waits some ten seconds in all.
const LIMIT_SECONDS: &str = "90";
/// The cgroups that the programs name (runtime-tools, cgroups/cgroups.go).
const CGROUPS: [&str; 2] = ["cgrouptest", "testdir/cgrouptest/container"];

/// Runs every program of `dir`, in the order of their names.
pub fn run_all(dir: &Path, runtime: &Runtime) -> Vec<Test> {
    // Not in the suite's directory, which may be on a file system of the host, without SELinux labels and slow.
    let here = TempDir::new("validation");
    let copied = run(&["cp", "-a", &format!("{}/.", dir.display()), here.str()]);
    copied.ok();
    let mut programs: Vec<String> = fs::read_dir(here.0.join("programs"))
        .expect("list the programs")
        .map(|entry| entry.expect("a program").file_name().into_string().expect("a name of ASCII"))
        .collect();
    programs.sort();
    let wrapper = Wrapper::new(&here.0, runtime);
    let wanted = std::env::var("PROGRAMS").unwrap_or_default();
    let wanted: Vec<_> = wanted.split_whitespace().collect();
    programs
        .iter()
        .filter(|name| wanted.is_empty() || wanted.contains(&&***name))
        .map(|name| {
            let test = run_one(&here.0, name, &wrapper);
            eprintln!("{name}: {:?} {}", test.verdict, test.why.join("; "));
            wrapper.clean();
            test
        })
        .collect()
}

fn run_one(dir: &Path, name: &str, wrapper: &Wrapper) -> Test {
    // Some configurations share mounts with the host. So each program gets a mount namespace with shared mounts as its host,
    // which ends with the program.
    const HOST: &str = "mount --make-rshared / && exec \"$@\"";
    let temp = dir.join("tmp");
    fs::create_dir_all(&temp).expect("make a directory");
    let output = Cmd::new("unshare")
        .args(&["--mount", "sh", "-c", HOST, "sh"])
        .args(&["timeout", "--kill-after=5", LIMIT_SECONDS, &format!("./programs/{name}")])
        .dir(dir)
        .env("RUNTIME", &wrapper.path)
        .env("TMPDIR", temp.to_str().expect("a path of ASCII"))
        .run();
    let mut test = Tap::parse(&output.stdout).verdict(name, output.status, &output.stderr);
    if test.verdict == Verdict::Failed {
        test.why.extend(wrapper.last_error());
    }
    test
}

/// A script that calls the runtime. It gives the runtime a state directory that can be emptied, and keeps the runtime's last
/// error, because the programs print only its exit code. The streams of `create` are not changed, because the container
/// inherits them.
struct Wrapper {
    path: String,
    root: String,
}

impl Wrapper {
    fn new(dir: &Path, runtime: &Runtime) -> Self {
        let path = dir.join("runtime").to_str().expect("a path of ASCII").to_owned();
        let root = format!("/run/{}", unique_name("validation"));
        let command = format!("{} --root {root}", runtime.command().join(" "));
        let text = format!(
            "#!/bin/sh\n[ \"$1\" != create ] || exec {command} \"$@\"\nstatus=0\n{command} \"$@\" 2> {path}.now || status=$?\n\
             cat {path}.now >&2\n[ $status = 0 ] || {{ echo \"$1\"; cat {path}.now; }} > {path}.error\nexit $status\n"
        );
        fs::write(&path, text).expect("write the wrapper");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod the wrapper");
        Self { path, root }
    }

    /// The message of the last call that failed, as `VERB: message`.
    fn last_error(&self) -> Option<String> {
        let said = fs::read_to_string(format!("{}.error", self.path)).ok()?;
        let (verb, message) = said.split_once('\n')?;
        let message = one_line(message);
        (!message.is_empty()).then(|| format!("{verb} said: {message}"))
    }

    /// Deletes every container, and the cgroups that the programs name.
    fn clean(&self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let id = entry.file_name();
            run(&[&self.path, "delete", "--force", &id.to_string_lossy()]);
        }
        let _ = fs::remove_dir_all(&self.root);
        let _ = fs::remove_file(format!("{}.error", self.path));
        for name in CGROUPS {
            let found = run(&[
                "find",
                "/sys/fs/cgroup",
                "-depth",
                "-type",
                "d",
                "-path",
                &format!("*/{name}"),
            ]);
            for dir in found.stdout.lines() {
                // Fails if a process of a broken container still lives. Then the next program fails, too.
                let _ = fs::remove_dir(dir);
            }
        }
    }
}

impl Drop for Wrapper {
    fn drop(&mut self) {
        self.clean();
    }
}
