//! Labels, in a guest where SELinux is enforcing and Docker knows it.

use sharedroot_tests::command::{out, run};
use sharedroot_tests::docker::{Container, docker_run};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::only_in_lab;

const SHARED: &str = "system_u:object_r:container_ro_file_t:s0";

#[track_caller]
fn enforcing() {
    only_in_lab();
    let mode = std::fs::read_to_string("/sys/fs/selinux/enforce").unwrap_or_default();
    assert_eq!(mode, "1", "SELinux is not enforcing: run this by hack/test");
}

#[track_caller]
fn started(flags: &[&str]) -> Container {
    Container::run(&[flags, &["debian", "sleep", "1000"]].concat())
}

/// The label of a file as the container sees it.
#[track_caller]
fn label_of(container: &Container, path: &str) -> String {
    let path = format!("/proc/{}/root{path}", container.pid());
    out(&["stat", "--format=%C", &path])
}

/// The level of a process label, such as `s0:c1,c2`.
fn level(label: &str) -> &str {
    label.splitn(4, ':').nth(3).unwrap_or_default()
}

#[test]
fn vm_processes_have_the_containers_label() {
    enforcing();
    for flags in [&["--read-only"][..], &[]] {
        let (one, other) = (started(flags), started(flags));
        let labels = [&one, &other].map(|container| {
            let wanted = container.inspect(".ProcessLabel");
            assert!(wanted.contains(":container_t:s0:c"), "{wanted}");
            let init =
                std::fs::read_to_string(format!("/proc/{}/attr/current", container.pid())).unwrap();
            assert_eq!(init.trim_end_matches(['\0', '\n']), wanted, "{flags:?}");
            let exec = container.exec(&["cat", "/proc/self/attr/current"]);
            assert_eq!(exec.trim_end_matches(['\0', '\n']), wanted, "exec {flags:?}");
            wanted
        });
        assert_ne!(
            level(&labels[0]),
            level(&labels[1]),
            "every container has categories of its own"
        );
    }
}

#[test]
fn vm_a_read_only_root_has_the_shared_label() {
    enforcing();
    let (one, other) = (started(&["--read-only"]), started(&["--read-only"]));
    for container in [&one, &other] {
        let root = root_of(container.pid());
        assert!(root.is_on_dm() && root.has("ro"), "{root:?}");
        for path in ["/", "/etc", "/etc/passwd", "/usr/bin/env"] {
            assert_eq!(label_of(container, path), SHARED, "{path}");
        }
        let list = container.exec(&["ls", "-Z", "/"]);
        assert!(list.lines().any(|line| line.trim() == format!("{SHARED} etc")), "{list}");
        // It may read and run what is there.
        assert_eq!(container.exec(&["head", "-c", "4", "/etc/passwd"]), "root");
        assert_ne!(container.call("exec", &["touch", "/file"]).status, 0);
    }
    assert_eq!(root_of(one.pid()).device, root_of(other.pid()).device);
}

#[test]
fn vm_a_writable_root_has_the_containers_label() {
    enforcing();
    let container = started(&[]);
    let mount_label = container.inspect(".MountLabel");
    assert!(mount_label.contains(":container_file_t:s0:c"), "{mount_label}");
    assert_eq!(level(&mount_label), level(&container.inspect(".ProcessLabel")));
    for path in ["/", "/etc/passwd", "/usr/bin/env"] {
        assert_eq!(label_of(&container, path), mount_label, "{path}");
    }
    container.exec(&["sh", "-c", "echo new > /etc/new"]);
    assert_eq!(label_of(&container, "/etc/new"), mount_label);
}

#[test]
fn vm_one_container_cannot_read_another() {
    enforcing();
    let (one, other) = (started(&[]), started(&[]));
    let shadow = format!("/proc/{}/root/etc/passwd", other.pid());
    // With the level of one and the privileges of the host's root, so that only SELinux stands between them.
    let label = one.inspect(".ProcessLabel");
    let read = run(&["runcon", &label, "cat", &shadow]);
    assert_ne!(read.status, 0, "{label} read {shadow}: {read}");
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
        let exec = container.exec(&["cat", "/proc/self/attr/current"]);
        assert_eq!(level(exec.trim_end_matches(['\0', '\n'])), "s0:c100,c200", "{flags:?}");
    }
}

#[test]
fn vm_no_denials() {
    enforcing();
    out(&["dmesg", "--clear"]);
    for flags in [&["--read-only"][..], &[]] {
        let container = started(flags);
        container.exec(&["sh", "-c", "ls -laR /etc /usr/bin > /dev/null"]);
        container.with_flags("stop", &["--time=1"]).ok();
    }
    let log = out(&["dmesg"]);
    let denied: Vec<_> =
        log.lines().filter(|line| line.contains("avc:") && line.contains("denied")).collect();
    assert!(denied.is_empty(), "{denied:#?}");
}
