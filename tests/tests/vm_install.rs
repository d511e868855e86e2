//! `install` and `uninstall` as Docker, containerd and podman themselves see them.
//!
//! Guest: --with shim --limit 800

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};
use sharedroot_tests::bundle::make_rootfs;
use sharedroot_tests::command::{Cmd, Output, out};
use sharedroot_tests::docker::{docker, docker_run};
use sharedroot_tests::lab::{Replaced, STATE_DIR, TempDir, only_in_lab, wait_for};
use sharedroot_tests::shim;

const DAEMON_JSON: &str = "/etc/docker/daemon.json";
const PROGRAM: &str = "/usr/local/bin/sharedroot";

/// `sharedroot WORDS…`, which must succeed.
#[track_caller]
fn sharedroot(words: &[&str]) -> String {
    only_in_lab();
    Cmd::new(PROGRAM).args(words).run().ok()
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn no_receipt_is_left() {
    assert!(!Path::new(STATE_DIR).join("install.json").exists(), "uninstall leaves nothing");
}

/// dockerd reads its configuration anew.
fn reload() {
    out(&["pkill", "-HUP", "-x", "dockerd"]);
}

#[track_caller]
fn docker_says(part: &str) -> String {
    docker(&["info", "--format", &format!("{{{{json .{part}}}}}")]).ok()
}

#[track_caller]
fn docker_knows(known: bool) {
    wait_for(&format!("dockerd knows the runtime: {known}"), || {
        let runtimes: Value = serde_json::from_str(&docker_says("Runtimes")).expect("JSON");
        (runtimes.get("sharedroot").is_some() == known).then_some(())
    });
}

/// dockerd with another configuration. Dropping it has dockerd read the lab's own again.
struct Reconfigured(Option<Replaced>);

impl Drop for Reconfigured {
    fn drop(&mut self) {
        self.0 = None;
        reload();
        if !std::thread::panicking() {
            docker_knows(true);
        }
    }
}

/// The lab's own configuration without the runtime, as an administrator might have written it.
fn without_it() -> (Reconfigured, String) {
    let mut config: Value = serde_json::from_str(&text(DAEMON_JSON).expect("read")).expect("JSON");
    config["runtimes"] = json!({ "crun": { "path": "/usr/bin/crun" } });
    config["default-runtime"] = "crun".into();
    let before = format!("{config:#}\n").replace("  ", "\t");
    let replaced = Reconfigured(Some(Replaced::with(DAEMON_JSON, &before)));
    fs::set_permissions(DAEMON_JSON, fs::Permissions::from_mode(0o640)).expect("chmod");
    reload();
    docker_knows(false);
    (replaced, before)
}

#[test]
fn vm_docker_gets_the_runtime_and_loses_it() {
    only_in_lab();
    let (_replaced, before) = without_it();
    docker_run("sharedroot", &["busybox", "true"]).fails(125);
    let shown = sharedroot(&["install", "docker", "--dry-run"]);
    assert!(shown.contains("+\t\t\t\"path\": \"/usr/local/bin/sharedroot\""), "{shown}");
    assert_eq!(text(DAEMON_JSON).as_ref(), Some(&before), "--dry-run changes nothing");
    no_receipt_is_left();

    let said = sharedroot(&["install", "docker", "--default"]);
    assert!(said.ends_with("\nnow: systemctl reload docker"), "{said}");
    let mode = fs::metadata(DAEMON_JSON).expect("stat").mode() & 0o7777;
    assert_eq!(mode, 0o640);
    reload();
    docker_knows(true);
    wait_for("the default is ours", || {
        (docker_says("DefaultRuntime") == "\"sharedroot\"").then_some(())
    });
    for flags in [&["--runtime=sharedroot"][..], &[]] {
        let run = [&["run", "--rm", "--network=none", "--read-only"], flags].concat();
        let mounts = [&run[..], &["busybox", "head", "-1", "/proc/self/mountinfo"]].concat();
        let root = docker(&mounts).ok();
        assert!(root.contains(" / / ro,") && root.contains(" - ext4 /dev/"), "{root}");
    }
    let again = sharedroot(&["install", "docker", "--default"]);
    assert!(again.starts_with("nothing to do: /etc/docker/daemon.json has"), "{again}");

    let said = sharedroot(&["uninstall", "docker"]);
    assert!(said.ends_with("\nnow: systemctl reload docker"), "{said}");
    assert_eq!(text(DAEMON_JSON).as_ref(), Some(&before), "to the byte");
    no_receipt_is_left();
    reload();
    docker_knows(false);
    wait_for("the default is what it was", || {
        (docker_says("DefaultRuntime") == "\"crun\"").then_some(())
    });
    let again = sharedroot(&["uninstall", "docker"]);
    assert!(again.starts_with("nothing to do: "), "{again}");
}

/// On SIGHUP dockerd keeps the runtimes of a file that names none any more, so then it is told to be restarted.
#[test]
fn vm_docker_keeps_what_a_reload_does_not_take_away() {
    only_in_lab();
    let dir = TempDir::new("docker");
    let path = format!("{}/etc/daemon.json", dir.str());
    let file = ["--config-file", &path];
    let said = sharedroot(&[&["install", "docker"], &file[..]].concat());
    assert!(
        said.starts_with("--- /dev/null\n") && said.ends_with("systemctl reload docker"),
        "{said}"
    );
    out(&["dockerd", "--validate", "--config-file", &path]);
    let said = sharedroot(&[&["uninstall", "docker"], &file[..]].concat());
    assert!(
        said.contains("\n+++ /dev/null\n") && said.contains("now: systemctl restart docker"),
        "{said}"
    );
    assert!(!Path::new(&path).exists(), "we made it");

    let (_replaced, before) = without_it();
    let mut bare: Value = serde_json::from_str(&before).expect("JSON");
    bare.as_object_mut().expect("an object").remove("runtimes");
    bare["default-runtime"] = "runc".into();
    fs::write(DAEMON_JSON, bare.to_string()).expect("write daemon.json");
    sharedroot(&["install", "docker"]);
    reload();
    docker_knows(true);
    let said = sharedroot(&["uninstall", "docker"]);
    assert!(said.contains("now: systemctl restart docker"), "{said}");
    assert_eq!(text(DAEMON_JSON), Some(bare.to_string()));
    // What `docker info` tells of `debug` shows that the reload is over.
    bare["debug"] = true.into();
    fs::write(DAEMON_JSON, bare.to_string()).expect("write daemon.json");
    reload();
    wait_for("dockerd has reloaded", || (docker_says("Debug") == "true").then_some(()));
    docker_knows(true);
}

#[test]
fn vm_docker_refuses_comments_and_so_do_we() {
    only_in_lab();
    let dir = TempDir::new("docker");
    let path = format!("{}/daemon.json", dir.str());
    fs::write(&path, "{\n  // no\n  \"debug\": true\n}\n").expect("write a file");
    assert_ne!(Cmd::new("dockerd").args(&["--validate", "--config-file", &path]).run().status, 0);
    let refused =
        Cmd::new(PROGRAM).args(&["install", "docker", "--config-file", &path]).run().fails(1);
    assert!(refused.contains("line 2 column 3") && refused.contains("add by hand"), "{refused}");
    no_receipt_is_left();
}

#[test]
fn vm_containerd_gets_the_runtime_and_loses_it() {
    only_in_lab();
    let usual = "/etc/containerd/config.toml";
    let dir = TempDir::new("containerd");
    let dump = |path: &str| out(&["containerd", "--config", path, "config", "dump"]);
    for (path, before) in [
        (usual.to_owned(), text(usual)),
        (format!("{}/made.toml", dir.str()), None),
        (format!("{}/old.toml", dir.str()), Some("# version 1\n[plugins.cri]\n".to_owned())),
        (format!("{}/whole.toml", dir.str()), Some(out(&["containerd", "config", "default"]))),
    ] {
        if let Some(before) = &before {
            fs::write(&path, before).expect("write a configuration");
        }
        let file = ["--config-file", &path];
        let said = sharedroot(&[&["install", "containerd", "--default"], &file[..]].concat());
        assert!(said.ends_with("now: systemctl restart containerd"), "{said}");
        let dumped = dump(&path);
        let ours = dumped.split("containerd.runtimes.sharedroot]").nth(1);
        let ours = ours.unwrap_or_else(|| panic!("{path}: no runtime in {dumped}"));
        assert!(ours.contains("BinaryName = \"/usr/local/bin/sharedroot\""), "{path}: {ours}");
        assert!(ours.contains("runtime_type = \"io.containerd.runc.v2\""), "{path}: {ours}");
        assert!(dumped.contains("default_runtime_name = \"sharedroot\""), "{path}: {dumped}");
        shim::install_program();
        sharedroot(&[&["install", "containerd", "--shim"], &file[..]].concat());
        let dumped = dump(&path);
        let ours = dumped.split("containerd.runtimes.sharedroot]").nth(1).expect("a runtime");
        let ours = ours.split("\n\n").next().unwrap_or_default();
        assert!(ours.contains("runtime_type = \"io.containerd.sharedroot.v2\""), "{path}: {ours}");
        assert!(!dumped.contains("/usr/local/bin/sharedroot"), "{path}: {dumped}");
        sharedroot(&[&["uninstall", "containerd"], &file[..]].concat());
        assert_eq!(text(&path), before, "{path}");
        assert!(before.is_none() || !dump(&path).contains("sharedroot"), "{path}");
    }
    no_receipt_is_left();
}

#[test]
fn vm_docker_gets_the_shim_and_loses_it() {
    only_in_lab();
    let (_replaced, before) = without_it();
    let shim = ["install", "docker", "--shim"];
    shim::install_program();
    let aside = format!("{}.aside", shim::INSTALLED);
    fs::rename(shim::INSTALLED, &aside).expect("take the shim away");
    let said = Cmd::new(PROGRAM).args(&shim).run();
    assert!(said.status != 0 && said.stderr.contains("is in none of /usr/local/sbin"), "{said}");
    assert_eq!(text(DAEMON_JSON).as_ref(), Some(&before), "nothing was changed");
    fs::rename(&aside, shim::INSTALLED).expect("put the shim back");
    let said = sharedroot(&shim);
    assert!(said.ends_with("\nnow: systemctl reload docker"), "{said}");
    reload();
    docker_knows(true);
    let id =
        docker(&["run", "-d", "--network=none", "--runtime=sharedroot", "busybox", "sleep", "99"]);
    let id = id.ok();
    // `status` and `doctor` know the shim.
    let status = Cmd::new(PROGRAM).args(&["status", "--json"]).run().json();
    assert_eq!(status["shims"]["servers"], 1, "{status}");
    assert!(status["shims"]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000));
    assert!(sharedroot(&["status"]).contains("shims     1 of containerd, with "));
    let doctor = Cmd::new(PROGRAM).arg("doctor").run();
    assert!(doctor.stdout.contains("ok       docker         has sharedroot"), "{doctor}");
    docker(&["rm", "--force", &id]).ok();
    // And an entry of the other kind in its place.
    let commands = sharedroot(&["install", "docker"]);
    assert!(commands.contains("-\t\t\t\"runtimeType\""), "{commands}");
    assert!(commands.contains("+\t\t\t\"path\": \"/usr/local/bin/sharedroot\""), "{commands}");
    sharedroot(&["uninstall", "docker"]);
    assert_eq!(text(DAEMON_JSON).as_ref(), Some(&before), "to the byte");
    no_receipt_is_left();
    let podman = Cmd::new(PROGRAM).args(&["install", "podman", "--shim"]).run();
    assert!(podman.status != 0 && podman.stderr.contains("no shims"), "{podman}");
}

/// podman where there is no systemd and no journal.
#[track_caller]
fn podman(words: &[&str]) -> Output {
    Cmd::new("podman")
        .args(&["--cgroup-manager=cgroupfs", "--events-backend=file"])
        .args(words)
        .run()
}

#[test]
fn vm_podman_gets_the_runtime_and_loses_it() {
    only_in_lab();
    let usual = "/etc/containers/containers.conf";
    let before = text(usual);
    let its_default = || podman(&["info", "--format", "{{.Host.OCIRuntime.Path}}"]).ok();
    let old_default = its_default();
    // Not in podman's PATH, so that only the file can lead there.
    let dir = TempDir::of_programs("install");
    let program = format!("{}/sharedroot", dir.str());
    fs::copy(PROGRAM, &program).expect("copy the program");
    let (rootfs, tar) = (dir.0.join("rootfs"), format!("{}/rootfs.tar", dir.str()));
    make_rootfs(&rootfs);
    out(&["tar", "-cf", &tar, "-C", rootfs.to_str().expect("ASCII"), "."]);
    podman(&["import", "--quiet", &tar, "localhost/installed"]).ok();

    out(&[&program, "install", "podman"]);
    assert_eq!(its_default(), old_default);
    let run =
        ["run", "--rm", "--network=none", "--read-only", "localhost/installed", "echo", "said"];
    assert_eq!(podman(&[&["--runtime", "sharedroot"], &run[..]].concat()).ok(), "said");
    out(&[&program, "install", "podman", "--default"]);
    assert_eq!(its_default(), program);
    assert_eq!(podman(&run).ok(), "said");
    out(&[&program, "uninstall", "podman"]);
    assert_eq!(text(usual), before);
    assert_eq!(its_default(), old_default);
    no_receipt_is_left();
}
