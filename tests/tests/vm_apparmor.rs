//! AppArmor profiles of containers, in a guest whose kernel enforces AppArmor and no SELinux.
//!
//! Guest: --no-docker --kernel-argument security=apparmor --with shim

use std::fs::{self, File};
use std::io::Read;

use rustix::fs::{Mode, OFlags};
use serde_json::json;
use sharedroot_task::Call;
use sharedroot_task::messages::task::CreateTaskRequest;
use sharedroot_tests::attack::{Target, allow, targets};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Output, out, unique_name};
use sharedroot_tests::lab::{TempDir, only_in_lab, wait_for};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::shim::{RUNTIMES, install_program};
use sharedroot_tests::shim_socket::Shim;

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

/// A FIFO as containerd makes one for an output, and what comes out of it.
struct Fifo(TempDir, File);

impl Fifo {
    fn new() -> Self {
        let dir = TempDir::new("fifo");
        let path = dir.0.join("fifo");
        out(&["mkfifo", path.to_str().expect("ASCII")]);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let reader = rustix::fs::open(&path, flags, Mode::empty()).expect("open a FIFO");
        Self(dir, File::from(reader))
    }

    fn path(&self) -> String {
        format!("{}/fifo", self.0.str())
    }

    /// Waits until a line has come that ends with `end`.
    #[track_caller]
    fn line(&mut self, end: &str) -> String {
        let mut text = String::new();
        wait_for(&format!("a line with {end}"), || {
            let _ = self.1.read_to_string(&mut text);
            text.trim_end().ends_with(end).then(|| text.trim_end().to_owned())
        })
    }
}

/// A bundle with the file that the profile denies, for containerd's shim.
#[track_caller]
fn by_shim(profile: Option<&str>) -> Shim {
    install_program();
    let bundle = Bundle::new(&Runtime::sharedroot(), &["sleep", "1000"]);
    fs::write(bundle.path().join("rootfs/etc/forbidden"), "secret").expect("write a file");
    bundle.edit(|config| {
        if let Some(profile) = profile {
            config["process"]["apparmorProfile"] = json!(profile);
        }
    });
    Shim::begin(RUNTIMES[1], bundle, &[])
}

/// A process that tells its profile and what it reads, on a FIFO of containerd's.
#[track_caller]
fn told(shim: &mut Shim, exec: &str, profile: Option<&str>) -> String {
    let mut fifo = Fifo::new();
    let script = "cat /proc/self/attr/current /etc/forbidden; echo \"status $?\"";
    let mut process = json!({
        "cwd": "/", "env": ["PATH=/bin"], "args": ["sh", "-c", script], "user": { "uid": 0, "gid": 0 },
    });
    if let Some(profile) = profile {
        process["apparmorProfile"] = json!(profile);
    }
    shim.add(exec, &process, ["", &fifo.path(), ""]);
    shim.begin_process(exec).expect("Start");
    let said = fifo.line(if profile == Some("unconfined") { "0" } else { "1" });
    assert_eq!(shim.end(exec), 0);
    said
}

/// Ours alone: through containerd's shim, whose helpers are clones of the spawner.
#[test]
fn vm_containerds_shim_applies_the_profile() {
    profile_is_loaded();
    let enforced = format!("{PROFILE} (enforce)");
    let mut shim = by_shim(Some(PROFILE));
    let init = shim.create(["", "", ""]).to_string();
    shim.begin_process("").expect("Start");
    // The answer to Start comes before the program is executed, as with runc.
    wait_for("init has its profile", || (profile_of(&init) == enforced).then_some(()));
    for (exec, profile) in [("inherits", None), ("has its own", Some(PROFILE))] {
        let exec = exec.replace(' ', "-");
        assert_eq!(told(&mut shim, &exec, profile), format!("{enforced}\nstatus 1"), "{exec}");
    }
    let [server, spawner] = shim.processes(init.parse().expect("a number"));
    for pid in [server, spawner] {
        assert_eq!(profile_of(&pid.to_string()), "unconfined");
    }
    drop(shim);
    // The means are real: without the profile the file can be read. A process with a profile of its own cannot read it.
    let mut shim = by_shim(None);
    let init = shim.create(["", "", ""]).to_string();
    shim.begin_process("").expect("Start");
    assert_eq!(profile_of(&init), "unconfined");
    assert_eq!(told(&mut shim, "free", Some("unconfined")), "unconfined\nsecretstatus 0");
    assert_eq!(told(&mut shim, "own", Some(PROFILE)), format!("{enforced}\nstatus 1"));
}

#[test]
fn vm_containerds_shim_starts_no_process_without_its_profile() {
    profile_is_loaded();
    const UNKNOWN: &str = "no-such-profile";
    let refused = |said: &str| {
        assert!(said.to_lowercase().contains("apparmor") && said.contains(UNKNOWN), "{said}");
    };
    let mut shim = by_shim(Some(PROFILE));
    shim.create(["", "", ""]);
    shim.begin_process("").expect("Start");
    let process = json!({
        "cwd": "/", "args": ["/bin/sleep", "1000"], "user": { "uid": 0, "gid": 0 },
        "apparmorProfile": UNKNOWN,
    });
    shim.add("unknown", &process, ["", "", ""]);
    refused(&shim.begin_process("unknown").expect_err("no process").1);
    drop(shim);
    let before = Census::take();
    let mut shim = by_shim(Some(UNKNOWN));
    let create = CreateTaskRequest {
        id: shim.id.clone(),
        bundle: shim.bundle.str().to_owned(),
        ..Default::default()
    };
    refused(&shim.call(&Call::Create(create)).expect_err("no container").1);
    drop(shim);
    before.nothing_left();
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
