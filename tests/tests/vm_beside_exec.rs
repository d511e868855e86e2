//! How a program begins, and what is said of one that cannot: exit codes, words, environment, limits, as with runc. Docker,
//! podman and kubelets read the words. Generic: `RUNTIME=runc` must pass too.
//!
//! Guest: --no-docker

use std::fs;

use serde_json::json;
use sharedroot_tests::attack::{script, targets};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{Output, unique_name};
use sharedroot_tests::runtime::Runtime;

const FOREVER: [&str; 2] = ["sleep", "1000"];
const MISSING: &str = "no such file or directory";
const FORMAT: &str = "exec format error";
/// Programs that are found and that the kernel does not execute.
const BROKEN: [(&str, &str); 3] =
    [("/crlf.sh", MISSING), ("/noshebang.sh", FORMAT), ("/foreign", FORMAT)];
/// What is no program.
const NONE: [(&str, &str); 4] = [
    ("/no/such", MISSING),
    ("no-such", "executable file not found in $PATH"),
    ("/file", "permission denied"),
    ("/etc", "is a directory"),
];

fn make_programs(root: &std::path::Path) {
    script(&root.join("crlf.sh"), "#!/bin/sh\r\necho hello\r\n");
    script(&root.join("noshebang.sh"), "echo hello\n");
    // The beginning of an executable of a 68000.
    script(&root.join("foreign"), "\u{7f}ELF\u{1}\u{2}\u{1}\0\0\0\0\0\0\0\0\0\0\u{2}\0\u{4}");
    fs::write(root.join("file"), "").unwrap();
}

/// Ended with `status`, and said `words` in a line without a debug dump.
#[track_caller]
fn said(output: Output, status: i32, words: &[&str]) {
    let text = output.fails(status);
    let line = text.lines().find(|line| words.iter().all(|word| line.contains(word)));
    assert!(line.is_some(), "{words:?} are in no line of: {text}");
    for dump in ["Execution(", "ENOENT", "ENOEXEC", "EACCES", "err=Nix", "os error"] {
        assert!(!text.contains(dump), "{dump:?} is in: {text}");
    }
}

#[track_caller]
fn run(runtime: &Runtime, bundle: &Bundle) -> Output {
    runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("run")]).run()
}

#[test]
fn vm_a_first_process_that_cannot_begin_says_why() {
    let runtime = Runtime::of_env();
    for target in targets(&runtime, &FOREVER, make_programs) {
        for (program, why) in BROKEN {
            target.edit(|config| config["process"]["args"] = json!([program]));
            said(run(&runtime, &target), 1, &[&format!("exec {program}: {why}")]);
        }
        for (program, why) in NONE {
            target.edit(|config| config["process"]["args"] = json!([program]));
            said(run(&runtime, &target), 1, &[program, why]);
        }
    }
}

#[test]
fn vm_an_exec_that_cannot_begin_says_why() {
    let runtime = Runtime::of_env();
    for target in targets(&runtime, &FOREVER, make_programs) {
        let container = target.start(&runtime);
        // The process is there already; runc 1.2 and later end it with 255.
        for (program, why) in BROKEN {
            said(container.exec(&[], &[program]), 1, &[&format!("exec {program}: {why}")]);
        }
        for (program, why) in NONE {
            said(container.exec(&[], &[program]), 255, &[program, why]);
        }
        for (cwd, why) in [("/no/such", MISSING), ("/file", "not a directory")] {
            let chdir = format!("chdir to cwd (\"{cwd}\") set in config.json failed: {why}");
            // A log in logfmt has the quotes escaped.
            let exec = container.exec(&["--cwd", cwd], &["true"]);
            let exec = Output { stderr: exec.stderr.replace("\\\"", "\""), ..exec };
            said(exec, 255, &[&chdir]);
        }
        assert_eq!(container.exec(&[], &["sh", "-c", "exit 7"]).status, 7);
        container.cmd("kill", &[]).arg("KILL").run().ok();
        container.becomes("stopped");
        container.exec(&[], &["true"]).fails(255);
    }
}

/// Each time: a map would have another order with each process.
#[test]
fn vm_the_environment_keeps_its_order() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["env"]);
    let names = ["PATH=/bin", "TWICE=1", "Z=2", "A=3", "HOME=/", "M=x=y", "TWICE=4", "Q=5"];
    let ordered = ["PATH=/bin", "Z=2", "A=3", "HOME=/", "M=x=y", "TWICE=4", "Q=5"];
    let check = |mut found: Vec<String>, mut wanted: Vec<&str>| {
        if !runtime.is_sharedroot() {
            // Before 1.2 runc had a variable where it came first.
            found.sort_unstable();
            wanted.sort_unstable();
        }
        assert_eq!(found, wanted);
    };
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    bundle.edit(|config| config["process"]["env"] = json!(names));
    for _ in 0..3 {
        check(lines(run(&runtime, &bundle).ok()), ordered.to_vec());
    }
    bundle.edit(|config| config["process"]["args"] = json!(FOREVER));
    let container = runtime.start(&bundle);
    for _ in 0..3 {
        let found = lines(container.exec(&["--env", "A=6", "--env", "B=7"], &["env"]).ok());
        let wanted =
            ["PATH=/bin", "Z=2", "HOME=/", "M=x=y", "TWICE=4", "Q=5", "A=6", "B=7"].to_vec();
        check(found, wanted);
    }
}

/// The limit is the program's; the runtime itself may need more.
#[test]
fn vm_a_small_limit_of_open_files_is_the_programs() {
    let runtime = Runtime::of_env();
    let limit = "ulimit -n; ulimit -Hn";
    let bundle = Bundle::new(&runtime, &["sh", "-c", limit]);
    let smallest: &[u64] = if runtime.is_sharedroot() { &[8, 4] } else { &[] };
    for files in [64, 20, 17, 12, 10].iter().chain(smallest) {
        for (uid, hard) in [(0, *files), (1000, files + 30)] {
            bundle.edit(|config| {
                let process = &mut config["process"];
                process["args"] = json!(["sh", "-c", limit]);
                process["user"]["uid"] = json!(uid);
                process["rlimits"] =
                    json!([{ "type": "RLIMIT_NOFILE", "soft": files, "hard": hard }]);
            });
            let wanted = format!("{files}\n{hard}");
            assert_eq!(run(&runtime, &bundle).ok(), wanted, "run");
            bundle.edit(|config| config["process"]["args"] = json!(FOREVER));
            let container = runtime.start(&bundle);
            assert_eq!(container.exec(&[], &["sh", "-c", limit]).ok(), wanted, "exec");
        }
    }
}
