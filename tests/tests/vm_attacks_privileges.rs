//! Who a process is and what it may do: users of an exec (CVE-2026-30892), inheritable capabilities (CVE-2022-29162),
//! and code of the image in the process that is on its way into a container. Generic: `RUNTIME=runc` must pass too.
//!
//! Guest: --no-docker

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sharedroot_tests::attack::targets;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{out, run, unique_name};
use sharedroot_tests::kernel_view::confinement;
use sharedroot_tests::lab::{RUN_DIR, TempDir};
use sharedroot_tests::runtime::{Container, Runtime};

const FOREVER: [&str; 2] = ["sleep", "1000"];

#[test]
fn vm_exec_runs_as_the_user_that_was_asked_for() {
    let runtime = Runtime::of_env();
    for target in targets(&runtime, &FOREVER, |_| {}) {
        let container = target.start(&runtime);
        let ids = |user: &str| container.exec(&["--user", user], &["sh", "-c", "id -u; id -g"]);
        for (user, wanted) in [
            ("0", "0\n0"),
            ("1", "1\n0"),
            ("9", "9\n0"),
            ("10:1", "10\n1"),
            ("1000:44", "1000\n44"),
            // The greatest of runc's.
            ("2147483647:2147483647", "2147483647\n2147483647"),
        ] {
            assert_eq!(ids(user).ok(), wanted, "{user:?} on a root {}", target.kind);
        }
        for user in [
            ":",
            "1:",
            ":1",
            "-1",
            "1x",
            "x1",
            " 1",
            "0x1",
            "1:-1",
            "1:x",
            "1:1:1",
            "4294967296",
            // For setresuid(2): leave it as it is, which is root.
            "4294967295",
            "1:4294967295",
            "4294967295:1",
        ] {
            let refused = ids(user);
            assert!(
                refused.status != 0 && refused.stdout.is_empty(),
                "{user:?} on a root {}: {refused}",
                target.kind
            );
        }
    }
}

#[test]
fn vm_init_is_no_user_that_does_not_exist() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["id", "-u"]);
    for user in [
        json!({ "uid": u32::MAX, "gid": 1 }),
        json!({ "uid": 1, "gid": u32::MAX }),
        json!({ "uid": 1, "gid": 1, "additionalGids": [2, u32::MAX] }),
    ] {
        bundle.edit(|config| config["process"]["user"] = user.clone());
        let ran = runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("user")]).run();
        assert!(ran.status != 0 && ran.stdout.is_empty(), "{user}: {ran}");
    }
}

fn capabilities(status: &str, set: &str) -> String {
    let lines = confinement(status);
    let line = lines.iter().find_map(|line| line.strip_prefix(set)).expect("a set of capabilities");
    line.trim_start_matches([':', '\t']).to_owned()
}

#[test]
fn vm_exec_gives_no_inheritable_capabilities() {
    const NONE: &str = "0000000000000000";
    let runtime = Runtime::of_env();
    let look = ["/bin/busybox-raw", "cat", "/proc/self/status"];
    let image = |root: &Path| {
        let program = root.join("bin/busybox-raw");
        fs::copy("/bin/busybox", &program).unwrap();
        out(&["setcap", "cap_net_raw+ei", program.to_str().unwrap()]);
        // The means are real: with the inheritable capability the file gives a user the permitted one.
        let user =
            ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=+net_raw"];
        let inherited =
            run(&[&user[..], &[program.to_str().unwrap(), "cat", "/proc/self/status"]].concat())
                .ok();
        assert_ne!(capabilities(&inherited, "CapPrm"), NONE);
    };
    for target in targets(&runtime, &FOREVER, image) {
        target.edit(|config| {
            for set in ["inheritable", "ambient"] {
                config["process"]["capabilities"].as_object_mut().unwrap().remove(set);
            }
        });
        let container = target.start(&runtime);
        for user in ["0", "1000:1000"] {
            let exec = container.exec(&["--user", user, "--cap", "CAP_NET_RAW"], &look).ok();
            assert_eq!(capabilities(&exec, "CapInh"), NONE, "{user} on a root {}", target.kind);
            assert_eq!(capabilities(&exec, "CapAmb"), NONE, "{user} on a root {}", target.kind);
            let gains = user != "0" && capabilities(&exec, "CapPrm") != NONE;
            assert!(!gains, "{user} on a root {}: {exec}", target.kind);
        }
    }
}

/// The libraries that a process on its way in has loaded from the image.
fn loaded(container: &Container<'_>) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", container.pid())).unwrap();
    maps.lines().filter(|line| line.contains("libnss_evil")).map(str::to_owned).collect()
}

#[test]
fn vm_no_code_of_the_image_runs_in_the_runtime() {
    let runtime = Runtime::of_env();
    let image = |root: &Path| {
        let lib = root.join("lib/x86_64-linux-gnu");
        fs::create_dir_all(&lib).unwrap();
        fs::copy("/lib/x86_64-linux-gnu/libz.so.1", lib.join("libnss_evil.so.2")).unwrap();
        fs::write(root.join("etc/nsswitch.conf"), "passwd: evil\ngroup: evil\nshadow: evil\n")
            .unwrap();
        // The means are real: who enters the root and asks for a user loads it.
        let ask = "import os, pwd, sys; os.chroot(sys.argv[1]); pwd.getpwall()";
        let words = ["strace", "-e", "trace=openat", "python3", "-I", "-S", "-c", ask];
        let naive = run(&[&words[..], &[root.to_str().unwrap()]].concat());
        assert!(naive.stderr.contains("libnss_evil.so.2"), "{naive}");
    };
    for target in targets(&runtime, &FOREVER, image) {
        target.edit(|config| {
            let env = config["process"]["env"].as_array_mut().unwrap();
            env.retain(|variable| !variable.as_str().unwrap().starts_with("HOME="));
        });
        for uid in [0, 1000] {
            target.edit(|config| config["process"]["user"] = json!({ "uid": uid, "gid": uid }));
            let created = runtime.create(&target);
            assert_eq!(loaded(&created), [] as [String; 0], "uid {uid} on a root {}", target.kind);
        }
    }
}

/// Nor does a file of the image hold the runtime up.
#[test]
fn vm_home_is_read_from_the_image_with_care() {
    let runtime = Runtime::of_env();
    let home = |root: &Path| {
        fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nx:x:7:7::/home/x:/bin/sh\n")
            .unwrap();
    };
    for target in targets(&runtime, &["sleep", "1000"], home) {
        let container = target.start(&runtime);
        for (user, wanted) in [("0", "/root"), ("7", "/home/x"), ("8", "/")] {
            let exec = container.exec(&["--user", user], &["sh", "-c", "echo $HOME"]).ok();
            assert_eq!(exec, wanted, "{user} on a root {}", target.kind);
        }
        let given = container.exec(&["--env", "HOME=/given"], &["sh", "-c", "echo $HOME"]).ok();
        assert_eq!(given, "/given", "{}", target.kind);
    }
    if !runtime.is_sharedroot() {
        return; // runc waits for a writer.
    }
    let fifo = |root: &Path| {
        fs::remove_file(root.join("etc/passwd")).unwrap();
        out(&["mkfifo", root.join("etc/passwd").to_str().unwrap()]);
    };
    for target in targets(&runtime, &["sh", "-c", "echo $HOME"], fifo) {
        let id = unique_name("fifo");
        let ran =
            runtime.cmd(&["run", "--bundle", target.str(), &id]).limit(Duration::from_secs(60));
        assert_eq!(ran.run().ok(), "/", "{}", target.kind);
    }
}

/// What the runtime keeps of containers, such as their environment, is root's alone.
#[test]
fn vm_the_state_is_roots_alone() {
    let (runtime, copy) = (Runtime::sharedroot(), TempDir::new("copy"));
    let bundle = Bundle::new(&runtime, &FOREVER);
    let _container = runtime.start(&bundle);
    let user = [
        "setpriv",
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
        "find",
        RUN_DIR,
        "-name",
        "config.json",
    ];
    let found = run(&user);
    assert_eq!(found.stdout, "", "{found}");
    let root = out(&["find", RUN_DIR, "-name", "config.json"]);
    assert!(!root.is_empty(), "what root finds: {root:?}, {}", copy.str());
}
