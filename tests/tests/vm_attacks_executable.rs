//! The runtime's own executable under attack from inside a container (CVE-2019-5736). Generic: `RUNTIME=runc` must
//! pass too.
//!
//! Guest: --no-docker --takes 26

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use sharedroot_tests::attack::{CAPTURE, Target, allow, bind, targets};
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::runtime::{Container, Runtime};

/// Becomes what it is run by: the runtime, which starts inside the container, and there waits for a writer of a FIFO of
/// the image: the dynamic loader reads that first, and a static executable of ours takes it for its configuration.
const TRAP: [&str; 4] = ["/proc/self/exe", "--config", FIFO, "list"];
const FIFO: &str = "/etc/ld.so.preload";

#[track_caller]
fn trap(root: &Path) {
    let loader = "lib64/ld-linux-x86-64.so.2";
    fs::create_dir_all(root.join("lib64")).unwrap();
    fs::copy(Path::new("/").join(loader), root.join(loader)).unwrap();
    out(&["mkfifo", root.join(&FIFO[1..]).to_str().unwrap()]);
    fs::create_dir(root.join("volume")).unwrap();
}

/// A container whose root may look into every process it sees; the worst case.
#[track_caller]
fn attacker<'r>(runtime: &'r Runtime, target: &Target, volume: &TempDir) -> Container<'r> {
    target.edit(|config| {
        bind(config, volume.str(), "/volume");
        config["process"]["args"] = json!(["sleep", "1000"]);
        allow(config, &["CAP_SYS_PTRACE"]);
    });
    target.start(runtime)
}

/// The runtime's executable on the host.
struct Executable {
    path: String,
    bytes: Vec<u8>,
}

impl Executable {
    fn of(runtime: &Runtime) -> Self {
        let path = out(&["sh", "-c", &format!("realpath $(command -v {})", runtime.program())]);
        let bytes = fs::read(&path).unwrap();
        Self { path, bytes }
    }

    /// It must be as it was. Where it is not it is put back first, because the rest of the test needs it.
    #[track_caller]
    fn unchanged(&self, said: &str) {
        if fs::read(&self.path).unwrap() != self.bytes {
            let new = format!("{}.new", self.path);
            fs::write(&new, &self.bytes).unwrap();
            fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
            fs::rename(&new, &self.path).unwrap();
            panic!("{} was overwritten: {said}", self.path);
        }
    }
}

/// The attack, begun and not waited for; what it says when it has ended.
#[track_caller]
fn attack(attacker: &Container<'_>, volume: &TempDir) -> String {
    let said = volume.0.join("said");
    fs::write(&said, "").unwrap();
    attacker.exec(&["--detach"], &["sh", "-c", CAPTURE]).ok();
    wait_for("the end of the attack", || {
        let text = fs::read_to_string(&said).unwrap();
        text.lines()
            .any(|line| line.starts_with("kept") || line.starts_with("overwritten"))
            .then_some(text)
    })
}

#[test]
fn vm_the_executable_cannot_be_overwritten() {
    let runtime = Runtime::of_env();
    let executable = Executable::of(&runtime);
    let volume = TempDir::new("volume");
    for target in targets(&runtime, &["sleep", "1000"], trap) {
        let attacker = attacker(&runtime, &target, &volume);
        let fails = |verb: &str| {
            let said = format!("{verb} on a root {}: {}", target.kind, attack(&attacker, &volume));
            executable.unchanged(&said);
            assert!(said.contains("captured /"), "the attack did not get that far: {said}");
            assert!(said.contains("kept /") && !said.contains("ext file busy"), "{said}");
        };
        attacker.exec(&["--detach"], &TRAP).ok();
        fails("exec");

        // Other containers of the same pid namespace, so that the attacker outlives what he attacks.
        target.edit(|config| {
            let shared = format!("/proc/{}/ns/pid", attacker.pid());
            for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
                if namespace["type"] == "pid" {
                    namespace["path"] = json!(shared);
                }
            }
            config["process"]["args"] = json!(TRAP);
        });
        let created = runtime.create(&target);
        fails("create, before start,");
        drop(created);
        let started = runtime.start(&target);
        fails("create and start");
        drop(started);
        let id = unique_name("run");
        runtime.cmd(&["run", "--detach", "--bundle", target.str(), &id]).run().ok();
        let ran = runtime.container(id);
        fails("run");
        drop(ran);
    }
}

/// The means are real: what enters a container from a file of the host that is not sealed is overwritten.
#[test]
fn vm_an_executable_that_is_not_sealed_is_overwritten() {
    let runtime = Runtime::of_env();
    let dir = TempDir::new("naive");
    let naive = format!("{}/naive", dir.str());
    fs::copy("/bin/busybox", &naive).unwrap();
    let volume = TempDir::new("volume");
    for target in targets(&runtime, &["sleep", "1000"], trap) {
        let attacker = attacker(&runtime, &target, &volume);
        let pid = attacker.pid();
        let enter = format!(
            "exec 9< {naive}; nsenter --target {pid} --mount --pid \
             /bin/sh -c 'exec -a sleep /proc/self/fd/9 1000' > /dev/null 2>&1 &"
        );
        out(&["sh", "-c", &enter]);
        // Not only open, in the shell or in nsenter, whose own executable is none of the test's.
        wait_for("the naive program runs in the container", || {
            let mut processes = fs::read_dir("/proc").unwrap().flatten();
            let is_it = |at: PathBuf| at.as_os_str() == naive.as_str();
            processes
                .any(|process| fs::read_link(process.path().join("exe")).is_ok_and(is_it))
                .then_some(())
        });
        let said = attack(&attacker, &volume);
        assert!(said.contains("overwritten /"), "{}: {said}", target.kind);
        assert_eq!(fs::read_to_string(&naive).unwrap(), "overwritten\n", "{}", target.kind);
        fs::copy("/bin/busybox", &naive).unwrap();
    }
}
