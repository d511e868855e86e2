//! Rootless use is refused, in one line that says what to do, before anything was done.
//!
//! Guest: --no-docker

use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Output, out, run};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

/// How an ordinary user, and a rootless engine's root, call a program.
const CALLERS: [(&[&str], &str); 3] = [
    (&["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"], "user 1000"),
    (&["unshare", "--map-root-user"], "user namespace"),
    (
        &[
            "setpriv",
            "--reuid=1000",
            "--regid=1000",
            "--clear-groups",
            "unshare",
            "--map-root-user",
            "--mount",
        ],
        "user namespace",
    ),
];

#[track_caller]
fn is_refused(output: &Output, reason: &str) {
    // As runc: `exec` ends with 255 where it fails itself, for 1 may be its command's.
    let status = if output.line.contains(" exec ") { 255 } else { 1 };
    assert_eq!(output.status, status, "{output}");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    for part in [reason, "as root", "runc or crun"] {
        assert!(output.stderr.contains(part), "{part:?} is not said: {output}");
    }
    assert_eq!(output.stdout, "", "{output}");
}

#[test]
fn vm_every_verb_that_acts_is_refused() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["true"]);
    out(&["chmod", "-R", "a+rX", bundle.str()]);
    let dir = TempDir::new("home");
    out(&["chown", "1000:1000", dir.str()]);
    let root = format!("{}/state", dir.str());
    let before = Census::take();
    for (caller, reason) in CALLERS {
        for words in [
            &["create", "--bundle", bundle.str(), "rootless"][..],
            &["run", "--bundle", bundle.str(), "rootless"],
            &["state", "rootless"],
            &["delete", "--force", "rootless"],
            &["exec", "rootless", "true"],
            &["list"],
            &["pool", "status"],
            &["image", "list"],
            &["gc"],
        ] {
            for state in [runtime.root(), &root] {
                let ours = ["/usr/local/bin/sharedroot", "--root", state];
                is_refused(&run(&[caller, &ours, words].concat()), reason);
            }
        }
    }
    assert!(!std::fs::exists(&root).expect("look"), "a state directory was made");
    before.nothing_left();
}

#[test]
fn vm_what_only_prints_is_everybodys() {
    sharedroot_tests::lab::only_in_lab();
    for (caller, _) in CALLERS {
        let said = |words: &[&str]| run(&[caller, &["/usr/local/bin/sharedroot"], words].concat());
        assert!(said(&["--version"]).ok().starts_with("sharedroot "));
        let features = said(&["features"]).json();
        assert!(features["linux"]["namespaces"].is_array(), "{features}");
        assert!(said(&["--help"]).ok().contains("Usage"));
    }
}

#[test]
fn vm_the_refusal_is_in_the_engines_log() {
    // A rootless engine reads the runtime's log, not its stderr.
    let dir = TempDir::new("log");
    out(&["chown", "1000:1000", dir.str()]);
    let log = format!("{}/log.json", dir.str());
    let (caller, reason) = CALLERS[0];
    let ours = ["/usr/local/bin/sharedroot", "--log", &log, "--log-format", "json", "state", "x"];
    let refused = run(&[caller, &ours].concat());
    assert_eq!(refused.status, 1, "{refused}");
    let text = std::fs::read_to_string(&log).expect("read the log");
    let line: serde_json::Value = serde_json::from_str(text.trim()).expect("one line of JSON");
    assert_eq!(line["level"], "error");
    assert!(line["msg"].as_str().is_some_and(|msg| msg.contains(reason)), "{line}");
}
