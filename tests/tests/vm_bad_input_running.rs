//! What `exec` and `update` refuse: the message has the reason, the container goes on as if nothing had been asked, and the
//! refused process leaves nothing. Generic: `RUNTIME=runc` compares the verdicts.
//!
//! Guest: --no-docker

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::kernel_view::cgroup_file;
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::runtime::{Container, Runtime};

/// The text of a file, and the words by which it is refused; none where it is accepted.
type Row = (&'static str, String, &'static [&'static str]);

/// Gives each row's text to `verb FLAG FILE`, in a container that runs meanwhile.
#[track_caller]
fn judge(verb: &str, flag: &str, rows: &[Row]) {
    let runtime = Runtime::of_env();
    let ours = std::env::var_os("RUNTIME").is_none();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    let dir = TempDir::new("input");
    let file = dir.0.join("input.json");
    let ask = |file: &Path| container.cmd(verb, &[flag, file.to_str().unwrap()]).run();
    // Once, so that what the first one makes is there.
    fs::write(&file, good(verb)).unwrap();
    ask(&file).ok();
    let before = Census::take();
    let pid = container.pid();
    let mut wrong = Vec::new();
    for (name, text, words) in rows {
        if !ours && words.contains(&"16 MiB") {
            continue; // a limit of our own
        }
        fs::write(&file, text).unwrap();
        let output = ask(&file);
        if (output.status == 0) != words.is_empty() {
            wrong.push(format!("{name}: {output}"));
        }
        let silent = |word: &&&str| ours && !output.stderr.contains(**word);
        wrong.extend(words.iter().filter(silent).map(|w| format!("{name}: no {w:?}: {output}")));
        if (129..=192).contains(&output.status) || output.stderr.len() > 6000 {
            wrong.push(format!("{name}: a crash, or a message that nobody can read: {output}"));
        }
        goes_on(&container, pid);
        if ours {
            before.nothing_left();
        }
    }
    for (name, file) in [("no file", dir.0.join("none")), ("a directory", dir.0.clone())] {
        let output = ask(&file);
        if output.status == 0 || !output.stderr.contains(file.to_str().unwrap()) && ours {
            wrong.push(format!("{name}: {output}"));
        }
    }
    goes_on(&container, pid);
    before.nothing_left();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[track_caller]
fn goes_on(container: &Container<'_>, pid: i32) {
    assert_eq!(container.status(), "running");
    assert_eq!(container.pid(), pid);
    wait_for("no other process is left", || {
        (cgroup_file(pid, "cgroup.procs").trim() == pid.to_string()).then_some(())
    });
}

fn good(verb: &str) -> String {
    if verb == "update" { limits(|_| {}) } else { process(|_| {}) }
}

fn process(change: impl FnOnce(&mut Value)) -> String {
    let mut process = json!({ "cwd": "/", "args": ["true"], "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    change(&mut process);
    process.to_string()
}

fn limits(change: impl FnOnce(&mut Value)) -> String {
    let mut limits = json!({ "pids": { "limit": 77 } });
    change(&mut limits);
    limits.to_string()
}

#[test]
fn vm_exec_of_a_wrong_process() {
    let limit = |kind: &str| json!({ "type": kind, "soft": 9, "hard": 9 });
    judge(
        "exec",
        "--process",
        &[
            ("an unknown field", process(|p| p["notYetInvented"] = json!({ "a": [null] })), &[]),
            (
                "an unknown capability",
                process(|p| p["capabilities"] = json!({ "bounding": ["CAP_NOT_YET_INVENTED"] })),
                &[],
            ),
            ("nothing", String::new(), &["input.json"]),
            ("no JSON", "{".into(), &["input.json"]),
            ("no object", "[]".into(), &["input.json"]),
            ("no fields", "{}".into(), &["input.json"]),
            (
                "20 MB",
                format!("{}{}", process(|_| {}), " ".repeat(20 << 20)),
                &["input.json", "16 MiB"],
            ),
            ("no args", process(|p| p["args"] = json!([])), &["process.args"]),
            (
                "an empty program",
                process(|p| p["args"] = json!([""])),
                &["executable file not found in $PATH"],
            ),
            ("no such program", process(|p| p["args"] = json!(["nope"])), &["nope"]),
            ("args no list", process(|p| p["args"] = json!("true")), &["args"]),
            ("NUL in args", process(|p| p["args"] = json!(["true", "\0"])), &["process.args"]),
            ("NUL in env", process(|p| p["env"] = json!(["A=\0"])), &["process.env"]),
            ("a relative cwd", process(|p| p["cwd"] = json!("tmp")), &["process.cwd"]),
            (
                "no such cwd",
                process(|p| p["cwd"] = json!("/no/such")),
                &["chdir", "/no/such", "no such file"],
            ),
            ("a uid of 33 bits", process(|p| p["user"]["uid"] = json!(1_u64 << 32)), &["user.uid"]),
            ("an unknown rlimit", process(|p| p["rlimits"] = json!([limit("X")])), &["rlimits[0]"]),
            (
                "an rlimit twice",
                process(|p| p["rlimits"] = json!([limit("RLIMIT_CORE"), limit("RLIMIT_CORE")])),
                &["rlimits[1]"],
            ),
        ],
    );
}

#[test]
fn vm_update_with_wrong_limits() {
    judge(
        "update",
        "--resources",
        &[
            ("an unknown field", limits(|l| l["notYetInvented"] = json!({ "a": [null] })), &[]),
            ("nothing", String::new(), &["input.json"]),
            ("no JSON", "{".into(), &["input.json"]),
            ("no object", "[1]".into(), &["input.json"]),
            (
                "20 MB",
                format!("{}{}", limits(|_| {}), " ".repeat(20 << 20)),
                &["input.json", "16 MiB"],
            ),
            ("a limit no number", limits(|l| l["pids"]["limit"] = json!("7")), &["pids.limit"]),
            (
                "a limit of 64 bits",
                limits(|l| l["pids"]["limit"] = json!(u64::MAX)),
                &["pids.limit"],
            ),
            ("memory no object", limits(|l| l["memory"] = json!(7)), &["memory"]),
            ("no such file", limits(|l| l["unified"] = json!({ "no.such": "1" })), &["no.such"]),
            (
                "a file above the cgroup",
                limits(|l| l["unified"] = json!({ "../cgroup.procs": "1" })),
                &["../cgroup.procs"],
            ),
            (
                "no such value",
                limits(|l| l["unified"] = json!({ "pids.max": "many" })),
                &["pids.max"],
            ),
        ],
    );
}
