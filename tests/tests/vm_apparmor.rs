//! AppArmor profiles of containers, in a guest whose kernel enforces AppArmor and no SELinux.
//!
//! Guest: --no-docker --kernel-argument security=apparmor

use std::fs;

use serde_json::json;
use sharedroot_tests::attack::{Target, allow, targets};
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Output, unique_name};
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::runtime::Runtime;

/// Of tests/fixtures/apparmor: denies every file of the name `forbidden`.
const PROFILE: &str = "sharedroot-test";
const COMPILED: &[u8] = include_bytes!("../fixtures/apparmor/sharedroot-test.bin");
const POLICY: &str = "/sys/kernel/security/apparmor";

#[track_caller]
fn profile_is_loaded() {
    only_in_lab();
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    assert_eq!(enabled, "Y\n", "AppArmor is not enabled: run this by hack/test");
    fs::write(format!("{POLICY}/.replace"), COMPILED).expect("load a profile");
    let loaded = fs::read_to_string(format!("{POLICY}/profiles")).expect("list the profiles");
    assert!(loaded.contains(&format!("{PROFILE} (enforce)")), "{loaded}");
}

/// Bundles on every kind of root, with a file that the profile denies.
#[track_caller]
fn confined(runtime: &Runtime) -> Vec<Target> {
    let made = targets(runtime, &["sleep", "1000"], |root| {
        fs::write(root.join("etc/forbidden"), "secret").expect("write a file");
    });
    for target in &made {
        target.edit(|config| config["process"]["apparmorProfile"] = json!(PROFILE));
    }
    made
}

/// The profile of a process, as the kernel has it.
#[track_caller]
fn profile_of(pid: &str) -> String {
    let path = format!("/proc/{}/attr/apparmor/current", pid.trim());
    fs::read_to_string(path).expect("a profile").trim_end().to_owned()
}

/// It could not run, or not read the file.
#[track_caller]
fn denied(what: &str, output: &Output) {
    assert!(output.status != 0 && !output.stdout.contains("secret"), "{what}: {output}");
}

#[test]
fn vm_a_profile_is_applied_in_create_and_exec() {
    profile_is_loaded();
    let runtime = Runtime::of_env();
    let enforced = format!("{PROFILE} (enforce)");
    for target in confined(&runtime) {
        let kind = target.kind;
        let container = target.start(&runtime);
        assert_eq!(profile_of(&container.pid().to_string()), enforced, "{kind}: init");
        let inherited = container.exec(&[], &["cat", "/proc/self/attr/current"]).ok();
        assert_eq!(inherited, enforced, "{kind}: exec");
        // A description that says nothing of it. runc takes one as it is.
        let process = json!({
            "cwd": "/", "args": ["/bin/cat", "/proc/self/attr/current"], "user": { "uid": 0, "gid": 0 },
        });
        let file = target.path().join("process.json");
        fs::write(&file, process.to_string()).expect("write a file");
        let described = container.cmd("exec", &["--process", file.to_str().expect("ASCII")]).run();
        if runtime.is_sharedroot() {
            assert_eq!(described.ok(), enforced, "{kind}: exec --process");
        }
        denied(kind, &container.exec(&[], &["cat", "/etc/forbidden"]));
        assert!(container.exec(&[], &["cat", "/etc/passwd"]).ok().starts_with("root"), "{kind}");
        drop(container);
        // The same file without the profile, in init and, with it, in exec.
        target.edit(|config| {
            config["process"].as_object_mut().expect("a process").remove("apparmorProfile");
        });
        let container = target.start(&runtime);
        assert_eq!(profile_of(&container.pid().to_string()), "unconfined", "{kind}: init");
        assert_eq!(container.exec(&[], &["cat", "/etc/forbidden"]).ok(), "secret", "{kind}");
        denied(kind, &container.exec(&["--apparmor", PROFILE], &["cat", "/etc/forbidden"]));
    }
}

#[test]
fn vm_no_process_starts_without_its_profile() {
    profile_is_loaded();
    const UNKNOWN: &str = "no-such-profile";
    let runtime = Runtime::of_env();
    // runc does not say which.
    let named = |said: &str| said.contains(UNKNOWN) || !runtime.is_sharedroot();
    for target in confined(&runtime) {
        let kind = target.kind;
        let container = target.start(&runtime);
        let exec = container.exec(&["--apparmor", UNKNOWN], &["echo", "ran"]);
        assert!(exec.status != 0 && exec.stdout.is_empty(), "{kind}: {exec}");
        let said = exec.stderr.to_lowercase();
        assert!(said.contains("apparmor") && named(&said), "{kind}: {exec}");
        drop(container);
        target.edit(|config| config["process"]["apparmorProfile"] = json!(UNKNOWN));
        let before = Census::take();
        let id = unique_name("profile");
        let create = runtime.cmd(&["create", "--bundle", target.str(), &id]).run();
        assert_ne!(create.status, 0, "{kind}: {create}");
        let said = create.stderr.to_lowercase();
        assert!(said.contains("apparmor") && named(&said), "{kind}: {create}");
        before.nothing_left();
    }
}

/// A `/proc` of the container's own that swallows the profile, has no place for it, or sends it elsewhere
/// (CVE-2019-16884, CVE-2023-28642, CVE-2025-52881).
const ATTACKS: [(&str, &str); 3] = [
    (
        "swallow",
        "busybox mount -t tmpfs none /tmp && mkdir /tmp/attr && touch /tmp/exec
         busybox mount --bind /proc/1/attr /tmp/attr
         busybox mount --bind /tmp/exec /tmp/attr/exec
         busybox mount --bind /tmp/exec /tmp/attr/apparmor/exec
         busybox mount -t tmpfs none /proc && mkdir -p /proc/self/attr /proc/thread-self/attr
         busybox mount --rbind /tmp/attr /proc/self/attr
         busybox mount --rbind /tmp/attr /proc/thread-self/attr",
    ),
    (
        "hide",
        "busybox mount -t tmpfs none /proc && mkdir -p /proc/self/attr/apparmor /proc/thread-self/attr",
    ),
    (
        "redirect",
        "busybox mount -t tmpfs none /tmp && mkdir -p /tmp/1/attr/apparmor
         touch /tmp/1/attr/exec /tmp/1/attr/apparmor/exec
         busybox mount --bind /proc/sys/kernel/domainname /tmp/1/attr/exec
         busybox mount --bind /proc/sys/kernel/domainname /tmp/1/attr/apparmor/exec
         busybox mount -t tmpfs none /proc && mkdir -p /proc/self /proc/thread-self
         busybox mount --rbind /tmp/1 /proc/self
         busybox mount --rbind /tmp/1 /proc/thread-self",
    ),
];

#[test]
fn vm_the_profile_of_an_exec_is_not_swallowed() {
    profile_is_loaded();
    let runtime = Runtime::of_env();
    for target in confined(&runtime) {
        target.edit(|config| allow(config, &["CAP_SYS_ADMIN"]));
        for (attack, script) in ATTACKS {
            let what = format!("{attack} on a root {}", target.kind);
            let container = target.start(&runtime);
            let mounted = container.exec(&[], &["sh", "-ec", script]);
            assert_eq!(mounted.status, 0, "{what}: {mounted}");
            // Either it is refused, or it runs under its profile.
            denied(&what, &container.exec(&[], &["cat", "/etc/forbidden"]));
            let fake = container.exec(&[], &["cat", "/tmp/exec", "/proc/sys/kernel/domainname"]);
            assert!(!fake.stdout.contains(PROFILE), "{what}: {fake}");
            let own = fs::read_to_string("/proc/sys/kernel/domainname").expect("a domain name");
            assert!(!own.contains(PROFILE), "{what}: {own}");
        }
    }
}
