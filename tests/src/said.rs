//! Commands with `--debug` and a log file, and everything that they write: to that log, to their streams, to the journal.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::command::{Output, out, run, unique_name};
use crate::lab::TempDir;
use crate::runtime::Runtime;

/// Everything that the commands with one state directory have written.
#[derive(Debug)]
pub struct Said {
    /// The runtime of the commands.
    pub runtime: Runtime,
    /// A directory for files of the test.
    pub dir: TempDir,
    /// The secret, which no output may contain.
    pub secret: String,
    printed: String,
}

impl Default for Said {
    fn default() -> Self {
        Self::new()
    }
}

impl Said {
    /// No command has run yet.
    #[track_caller]
    pub fn new() -> Self {
        let (runtime, dir) = (Runtime::sharedroot(), TempDir::new("said"));
        Self { runtime, dir, secret: unique_name("hunter2"), printed: String::new() }
    }

    /// The path of the log file, which may not exist yet.
    pub fn log(&self) -> PathBuf {
        self.dir.0.join("log")
    }

    /// Runs a command of the runtime, which may fail.
    #[track_caller]
    pub fn call(&mut self, words: &[&str]) -> Output {
        let log = self.log();
        let flags = ["--debug", "--log", log.to_str().expect("ASCII"), "--log-format", "json"];
        let output = self.runtime.cmd(&[&flags, words].concat()).run();
        self.printed += &format!("{}{}", output.stdout, output.stderr);
        output
    }

    /// A bundle with the secret in every place where a bundle may have one.
    #[track_caller]
    pub fn furnish(&self, bundle: &Bundle) {
        let secret = &self.secret;
        let hook = |path: &str| json!([{ "path": path, "args": ["true", secret], "env": [format!("HOOK={secret}")] }]);
        bundle.edit(|config| {
            let args = config["process"]["args"].as_array_mut().expect("args");
            args.push(json!(secret));
            let env = config["process"]["env"].as_array_mut().expect("an env");
            env.push(json!(format!("SECRET={secret}")));
            config["annotations"] = json!({ "org.example.token": secret });
            for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
                config["hooks"][kind] = hook("/usr/bin/true");
            }
            config["hooks"]["startContainer"] = hook("/bin/true");
        });
    }

    /// The log. Checks first that no output contains the secret.
    #[track_caller]
    pub fn has_no_secret(&self) -> String {
        let log = fs::read_to_string(self.log()).expect("read the log");
        out(&["journalctl", "--sync"]);
        let journal = out(&["journalctl", "--quiet", "--all", "--output=export"]);
        assert!(journal.contains("SHAREDROOT_COMMAND=create"), "the journal has our messages");
        for (what, text) in [("log", &log), ("journal", &journal), ("output", &self.printed)] {
            let line = text.lines().find(|line| line.contains(&self.secret));
            assert!(line.is_none(), "the {what} has the secret: {line:?}");
        }
        log
    }
}

/// Checks that some files of the runtime contain the secret, and that only root can read them.
///
/// # Panics
/// If somebody else can read them, or if there are no such files.
#[track_caller]
pub fn only_root_reads(secret: &str, dirs: &[&str]) {
    let with =
        [&["grep", "--recursive", "--files-with-matches", "--devices=skip", secret], dirs].concat();
    let files = out(&with);
    assert!(files.lines().count() >= 3, "the configuration, the state, the hooks: {files}");
    for path in files.lines() {
        let open = Path::new(path).ancestors().all(|part| {
            let needed = if part == Path::new(path) { 0o044 } else { 0o011 };
            let found = File::open(part).and_then(|f| f.metadata()).expect("look");
            found.permissions().mode() & needed != 0
        });
        assert!(!open, "others can read {path}");
    }
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let read = run(&[&nobody, &with[..]].concat());
    assert_eq!(read.stdout, "", "{read}");
}

/// How long a step took according to the log, in milliseconds; 0 if the log does not say.
pub fn took(log: &str, step: &str) -> f64 {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = lines.filter_map(|line| {
        let (time, what) = line["msg"].as_str()?.strip_prefix("took ")?.split_once(" ms: ")?;
        what.starts_with(step).then(|| time.parse::<f64>().ok())?
    });
    found.next().unwrap_or(0.0)
}
