//! Labels, in a guest where SELinux is enforcing and Docker knows it.
//!
//! Guest: --selinux enforcing --limit 900 --takes 80 --shim always

use std::fs::File;

use serde_json::Value;
use sharedroot_tests::bundle::make_rootfs;
use sharedroot_tests::command::{out, run, unique_name};
use sharedroot_tests::docker::{Container, docker, docker_run};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::selinux::{Context, SHARED, denials, enforcing, permissive};

/// A shared, a private and the engine's own root.
const KINDS: [&[&str]; 3] = [&["--read-only"], &[], &["--annotation=dev.sharedroot.mode=off"]];

#[track_caller]
fn started(flags: &[&str]) -> Container {
    Container::run(&[flags, &["debian", "sleep", "1000"]].concat())
}

/// What a process says of itself.
const LABEL: [&str; 2] = ["cat", "/proc/self/attr/current"];

#[test]
fn vm_processes_have_the_containers_label() {
    enforcing();
    let mut levels = Vec::new();
    for flags in KINDS {
        let health = ["--health-cmd=cat /proc/self/attr/current", "--health-interval=1s"];
        let container = started(&[flags, &health].concat());
        let wanted = Context::of_processes(&container);
        assert!(wanted.level().starts_with("s0:c") && wanted.kind() == "container_t", "{wanted}");
        assert_eq!(Context::of_process(container.pid()), wanted, "{flags:?}");
        for how in [&[][..], &["--user=1000:1000"], &["--tty"], &["--privileged"]] {
            let exec = docker(&[&["exec"], how, &[&container.id], &LABEL].concat()).ok();
            assert_eq!(Context::new(&exec), wanted, "exec {how:?} {flags:?}");
        }
        let line = format!("docker exec -it {} {}", container.id, LABEL.join(" "));
        let terminal = run(&["script", "--quiet", "--return", "--command", &line, "/dev/null"]);
        // A terminal shows the NUL at the label's end in its own way, and its input's.
        let terminal = terminal.ok();
        assert!(terminal.contains(&wanted.to_string()), "exec -it {flags:?}: {terminal}");
        let health = wait_for("a health check", || {
            let log: Value = serde_json::from_str(&container.inspect(".State.Health.Log")).ok()?;
            log[0]["Output"].as_str()?.parse::<Context>().ok()
        });
        assert_eq!(health, wanted, "health check {flags:?}");
        levels.push(wanted.level().to_owned());
    }
    let kinds = levels.len();
    levels.sort();
    levels.dedup();
    assert_eq!(levels.len(), kinds, "every container has categories of its own: {levels:?}");
}

#[test]
fn vm_a_read_only_root_has_the_shared_label() {
    enforcing();
    let (one, other) = (started(&["--read-only"]), started(&["--read-only"]));
    for container in [&one, &other] {
        let root = root_of(container.pid());
        assert!(root.is_on_dm() && root.has("ro"), "{root:?}");
        for path in ["/", "/etc", "/etc/passwd", "/usr/bin/env"] {
            assert_eq!(Context::in_container(container, path).to_string(), SHARED, "{path}");
        }
        // It may read and run what is there.
        assert_eq!(container.exec(&["head", "-c", "4", "/etc/passwd"]), "root");
        assert_ne!(container.call("exec", &["touch", "/file"]).status, 0);
    }
    assert_eq!(root_of(one.pid()).device, root_of(other.pid()).device);
}

#[test]
fn vm_a_scaffold_has_the_shared_label() {
    enforcing();
    let ((), denied) = denials(|| {
        let volume = "--tmpfs=/missing/in/the/image";
        let containers = [&[volume][..], &[volume], &[volume, "--workdir=/missing/too"]]
            .map(|flags| started(&[&["--read-only"], flags].concat()));
        for (container, alone) in containers.iter().zip([false, false, true]) {
            let root = root_of(container.pid());
            assert_eq!(root.fstype, "overlay", "{root:?}");
            // With files of its own in it the root is the container's own, and labelled so.
            let label = if alone { Context::of_mounts(container) } else { Context::new(SHARED) };
            for path in ["/", "/missing/in", "/etc/passwd", "/usr/bin/env"] {
                assert_eq!(Context::in_container(container, path), label, "{path}");
            }
            assert_eq!(container.exec(&["head", "-c", "4", "/etc/passwd"]), "root");
            container.exec(&["touch", "/missing/in/the/image/file"]);
            assert_ne!(container.call("exec", &["touch", "/missing/file"]).status, 0);
        }
        let [one, other, _] =
            containers.each_ref().map(|container| root_of(container.pid()).device);
        assert_eq!(one, other);
    });
    assert!(denied.is_empty(), "{denied:#?}");
}

#[test]
fn vm_a_writable_root_has_the_containers_label() {
    enforcing();
    let container = started(&[]);
    let label = Context::of_mounts(&container);
    assert_eq!(label.kind(), "container_file_t", "{label}");
    assert_eq!(label.level(), Context::of_processes(&container).level());
    let label_of = |path| Context::in_container(&container, path);
    for path in ["/", "/etc/passwd", "/usr/bin/env"] {
        assert_eq!(label_of(path), label, "{path}");
    }
    container.exec(&["sh", "-c", "echo new > /etc/new"]);
    assert_eq!(label_of("/etc/new"), label);
    // Through the engine's root, which has the label, too, and back.
    container.stop();
    let diff = container.call("diff", &[]).ok();
    assert!(diff.lines().any(|line| line == "A /etc/new"), "{diff}");
    container.call("start", &[]).ok();
    assert!(root_of(container.pid()).is_on_dm());
    assert_eq!(container.exec(&["cat", "/etc/new"]), "new");
    assert_eq!(label_of("/etc/new"), Context::of_mounts(&container));
}

/// Only with the root's label the kernel gives the mount by which the file system is shut down. Without that the volume would
/// keep its blocks.
#[test]
fn vm_a_root_that_has_ended_loses_its_disk_whatever_its_label() {
    enforcing();
    for more in [&[][..], &["--security-opt=label=level:s0:c100,c200"]] {
        let container = started(more);
        assert!(root_of(container.pid()).is_on_dm());
        let held = File::open(format!("/proc/{}/root", container.pid())).expect("the root");
        let (_, mut denied) = denials(|| container.with_flags("stop", &["--time=1"]).ok());
        // Who uses the root is looked for in every process, of which the policy hides the kernel's threads.
        denied.retain(|denied| denied.target.kind() != "kernel_t");
        assert!(denied.is_empty(), "{denied:#?}");
        let tables = out(&["dmsetup", "table"]);
        let ours: Vec<_> = tables.lines().filter(|line| line.contains("-deleted.")).collect();
        assert!(ours.len() == 1 && ours[0].trim_end().ends_with(" error"), "{more:?}: {ours:?}");
        drop(held);
        wait_for("the device is gone", || {
            (!out(&["dmsetup", "ls"]).contains("-deleted.")).then_some(())
        });
    }
}

#[test]
fn vm_label_disable_and_options() {
    enforcing();
    let disabled = docker_run(
        "sharedroot",
        &["--read-only", "--security-opt=label=disable", "debian", "true"],
    );
    let runc =
        docker_run("runc", &["--read-only", "--security-opt=label=disable", "debian", "true"]);
    assert_eq!(disabled.status, runc.status, "{disabled}\n{runc}");
    for flags in [&["--read-only"][..], &[]] {
        let flags = [flags, &["--security-opt=label=level:s0:c100,c200"]].concat();
        let container = started(&flags);
        assert_eq!(Context::new(&container.exec(&LABEL)).level(), "s0:c100,c200", "{flags:?}");
    }
}

/// What programs of every day do with the root: interpreters, libraries, maps, locks.
const USUAL: &str = "
import ctypes, fcntl, hashlib, json, mmap, os, sqlite3, ssl, subprocess
with open('/usr/share/lab/one/file', 'rb') as file:
    mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)[0] = 1
    fcntl.flock(file, fcntl.LOCK_SH)
ctypes.CDLL('libsqlite3.so.0').sqlite3_libversion()
subprocess.run(['/usr/bin/env', 'true'], check=True)
for _ in os.walk('/usr/share'): pass
os.statvfs('/'), os.listxattr('/etc/passwd'), os.readlink('/etc/mtab')";

#[test]
fn vm_no_denials() {
    enforcing();
    let ((), denied) = denials(|| {
        for flags in [&["--read-only"][..], &[]] {
            let container = Container::run(&[flags, &["python", "sleep", "1000"]].concat());
            container.exec(&["sh", "-c", "ls -laR /etc /usr/bin > /dev/null"]);
            container.exec(&["python3", "-c", USUAL]);
            if flags.is_empty() {
                let changes = "mkdir /new && echo new > /new/file && ln -s / /new/link && chmod 600 /etc/passwd && rm -r /var/log";
                container.exec(&["sh", "-c", changes]);
            }
            container.with_flags("stop", &["--time=1"]).ok();
            container.call("start", &[]).ok();
        }
    });
    assert!(denied.is_empty(), "{denied:#?}");
}

#[test]
fn vm_the_runtimes_own_files_have_types_of_their_own() {
    enforcing();
    let _container = started(&["--read-only"]);
    for (path, kind) in [
        ("/usr/local/bin/sharedroot", "sharedroot_exec_t"),
        ("/var/lib/sharedroot", "sharedroot_state_t"),
        ("/var/lib/sharedroot/default.data", "sharedroot_state_t"),
        ("/var/lib/sharedroot/default.metadata", "sharedroot_state_t"),
        ("/var/lib/sharedroot/store.db", "sharedroot_state_t"),
        ("/run/sharedroot", "sharedroot_runtime_t"),
        ("/run/sharedroot/containers", "sharedroot_runtime_t"),
    ] {
        assert_eq!(Context::of_file(path).kind(), kind, "{path}");
    }
}

/// A label that an image brings along would be that of a program which the host trusts, or of what every container writes.
#[test]
fn vm_labels_of_layers_are_not_honoured() {
    // Else the daemon may not extract such a layer.
    permissive(labels_of_layers);
}

fn labels_of_layers() {
    const TRUSTED: &str = "system_u:object_r:unconfined_exec_t:s0";
    const WRITABLE: &str = "system_u:object_r:container_file_t:s0";
    let dir = TempDir::new("layer");
    let rootfs = dir.0.join("rootfs");
    make_rootfs(&rootfs);
    let path = |name: &str| dir.0.join(name).to_str().expect("ASCII").to_owned();
    out(&["chcon", TRUSTED, &path("rootfs/bin/busybox")]);
    out(&["chcon", WRITABLE, &path("rootfs/etc/passwd")]);
    let archive = path("layer.tar");
    let flags = ["--create", "--xattrs", "--xattrs-include=security.selinux", "--file", &archive];
    out(&[&["tar"], &flags[..], &["--directory", &path("rootfs"), "."]].concat());
    assert!(out(&["grep", "--count", "--text", "SCHILY.xattr.security.selinux", &archive]) != "0");

    let name = unique_name("labelled");
    docker(&["import", &archive, &name]).ok();
    for kind in [&["--read-only"][..], &[]] {
        let container = Container::run(&[kind, &[&name, "sleep", "1000"]].concat());
        let pid = container.pid();
        assert!(root_of(pid).is_on_dm());
        let own = kind.is_empty();
        let wanted = if own { Context::of_mounts(&container) } else { Context::new(SHARED) };
        for file in ["/bin/busybox", "/etc/passwd", "/"] {
            assert_eq!(Context::seen_by(pid, file), wanted, "{file} {kind:?}");
        }
        assert_eq!(Context::of_process(pid), Context::of_processes(&container), "{kind:?}");
    }
    docker(&["rmi", &name]).ok();
}
