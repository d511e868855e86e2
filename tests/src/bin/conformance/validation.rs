//! The programs of the OCI runtime-tools validation suite, one after another, on the machine that this process runs on.
//!
//! A program calls `RUNTIME` and says what it saw as TAP. It needs `runtimetest` and the tar file of a root file system in
//! its working directory. What a failed program leaves behind would fail the next one, so it is removed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sharedroot_tests::command::{Cmd, run, unique_name};
use sharedroot_tests::lab::TempDir;

use crate::outcome::{Test, Verdict, one_line};
use crate::runtime::Runtime;
use crate::tap::Tap;

/// Longer than any program needs: the slowest waits some ten seconds in all.
const LIMIT_SECONDS: &str = "90";
/// The cgroups that the programs name (runtime-tools, cgroups/cgroups.go).
const CGROUPS: [&str; 2] = ["cgrouptest", "testdir/cgrouptest/container"];

/// Runs every program of `dir`, in the order of their names.
pub fn run_all(dir: &Path, runtime: &Runtime) -> Vec<Test> {
    // Not where the suite lies: that can be a file system of the host, which carries no labels and is slow to run from.
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
    // Some containers share their mounts with the host, as they were told to. This host is a mount namespace that looks like
    // one, where every mount is shared, and that ends with the program.
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

/// A script in the runtime's place: the runtime gets a state directory that can be emptied, and its last error is kept,
/// because programs say no more of it than its exit code. `create` is left alone: its streams are the container's.
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

    /// `VERB: message` of the last call that failed.
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
                // Fails where a process of a broken container lives on; the next program will say so.
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
