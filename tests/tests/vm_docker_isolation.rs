//! Whom a container of Docker's is, what it may do, and which namespaces it shares. Generic: passes with `RUNTIME=runc`,
//! too.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200 --takes 90 --shim long

use sharedroot_tests::command::{Output, run};
use sharedroot_tests::docker::{Container, KINDS, asleep, busybox, docker, docker_run, runtime};
use sharedroot_tests::lab::{TempDir, wait_for};

/// The same of an image with more users and groups.
#[track_caller]
fn debian(flags: &[&str], script: &str) -> Output {
    docker_run(&runtime(), &[flags, &["debian", "sh", "-c", script]].concat())
}

#[test]
fn vm_users_and_groups_by_name() {
    let ids = "id -u; id -g; id -G";
    for kind in KINDS {
        let user = |user: &str| debian(&[kind, &[user]].concat(), ids).ok();
        assert_eq!(user("--user=daemon"), "1\n1\n1", "{kind:?}");
        assert_eq!(user("--user=daemon:audio"), "1\n29\n29", "{kind:?}");
        assert_eq!(user("--user=1234"), "1234\n0\n0", "{kind:?}");
        let more = [kind, &["--user=daemon", "--group-add=audio", "--group-add=4321"]].concat();
        assert_eq!(debian(&more, ids).ok(), "1\n1\n1 29 4321", "{kind:?}");
    }
    let unknown = debian(&["--user=nobody-knows"], "true");
    assert!(unknown.status != 0 && unknown.stderr.contains("nobody-knows"), "{unknown}");
    // The home directory is the user's own.
    assert_eq!(debian(&["--user=games"], "echo $HOME").ok(), "/usr/games");
}

#[test]
fn vm_capabilities_have_an_effect() {
    for kind in KINDS {
        let chown = "touch /tmp/x && chown 1 /tmp/x 2>&1";
        let flags = |more: &[&'static str]| [kind, &["--tmpfs=/tmp"], more].concat();
        assert_eq!(busybox(&flags(&[]), chown).ok(), "", "{kind:?}");
        let dropped = busybox(&flags(&["--cap-drop=CHOWN"]), chown);
        assert!(dropped.fails(1).contains("not permitted"), "{kind:?}");
        // busybox says what happened and ends with 0.
        let time = busybox(&flags(&[]), "date -s @0 2>&1").ok();
        assert!(time.contains("not permitted"), "{kind:?}: {time}");
        let mount = "mount -t tmpfs t /tmp 2>&1 && echo mounted";
        assert_ne!(busybox(&flags(&[]), mount).status, 0, "{kind:?}");
        // SELinux lets no container mount.
        let admin = ["--cap-add=SYS_ADMIN", "--security-opt=label=disable"];
        let admin = busybox(&flags(&admin), mount);
        assert_eq!(admin.ok(), "mounted", "{kind:?}");
    }
}

#[test]
fn vm_a_privileged_container_has_the_devices_and_may_write_to_sysctls() {
    for kind in KINDS {
        let script = "test -e /dev/loop-control && test -w /proc/sys/kernel/panic && grep -c Seccomp:.0 /proc/self/status";
        assert_eq!(busybox(&[kind, &["--privileged"]].concat(), script).ok(), "1", "{kind:?}");
        let plain = busybox(kind, "test -e /dev/loop-control || echo none").ok();
        assert_eq!(plain, "none", "{kind:?}");
        let container = asleep(&[kind, &["--privileged"]].concat());
        assert_eq!(
            container.exec(&[
                "sh",
                "-c",
                "mount -t tmpfs t /mnt 2>/dev/null || mount -t tmpfs t /tmp; echo $?"
            ]),
            "0"
        );
    }
}

#[test]
fn vm_devices_are_what_was_granted() {
    // A loop device without a file: it can be opened, and a read of it gives nothing.
    let read = "dd if=/dev/mine of=/dev/null count=1 2>&1";
    let write = "dd if=/dev/zero of=/dev/mine count=1 2>&1";
    for kind in KINDS {
        let device = |mode: &str, script: &str| {
            busybox(&[kind, &[&format!("--device=/dev/loop7:/dev/mine:{mode}")]].concat(), script)
        };
        device("r", read).ok();
        assert!(device("r", write).fails(1).contains("not permitted"), "{kind:?}");
        assert!(device("w", read).fails(1).contains("not permitted"), "{kind:?}");
    }
    // A node alone is no permission. SELinux lets no container make one.
    let made = "mknod /root/mine b 7 7 && dd if=/root/mine of=/dev/null count=1 2>&1";
    let no_label = "--security-opt=label=disable";
    assert!(busybox(&[no_label], made).fails(1).contains("not permitted"));
    busybox(&[no_label, "--device-cgroup-rule=b 7:7 r"], made).ok();
    // And exec is in the same cgroup.
    let container = asleep(&["--device=/dev/loop7:/dev/mine:r"]);
    assert_eq!(container.call("exec", &["sh", "-c", read]).status, 0);
    assert!(container.call("exec", &["sh", "-c", write]).fails(1).contains("not permitted"));
}

#[test]
fn vm_a_seccomp_profile_of_the_users_own() {
    let dir = TempDir::new("seccomp");
    let profile = dir.0.join("profile.json");
    let text = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 } ] }"#;
    std::fs::write(&profile, text).expect("write the profile");
    let flag = format!("--security-opt=seccomp={}", profile.display());
    for kind in KINDS {
        let flags = [kind, &["--tmpfs=/tmp", &flag]].concat();
        let said = busybox(&flags, "mkdir /tmp/x 2>&1");
        assert!(said.fails(1).contains("not implemented"), "{kind:?}");
        let words = [&flags[..], &["busybox", "sleep", "1000"]].concat();
        let container = Container::generic(&words);
        let said = container.call("exec", &["mkdir", "/tmp/y"]);
        assert!(said.fails(1).contains("not implemented"), "{kind:?}: exec");
    }
    // Docker's own profile: keyrings are not namespaced.
    let status = busybox(&["--read-only"], "grep -c 'Seccomp:.2' /proc/self/status").ok();
    assert_eq!(status, "1");
}

#[test]
fn vm_no_new_privileges_keeps_a_set_uid_program_from_them() {
    for kind in KINDS {
        // su of the image is set-uid: without the flag it asks for a password, with it it cannot.
        let flags = [kind, &["--user=daemon", "--security-opt=no-new-privileges"]].concat();
        let script = "grep NoNewPrivs /proc/self/status | cut -f 2; grep CapEff /proc/self/status | cut -f 2";
        assert_eq!(debian(&flags, script).ok(), "1\n0000000000000000", "{kind:?}");
        let plain = debian(&[kind, &["--user=daemon"]].concat(), script).ok();
        assert_eq!(plain, "0\n0000000000000000", "{kind:?}");
    }
}

#[test]
fn vm_a_read_only_root_with_places_to_write() {
    let flags = ["--read-only", "--tmpfs=/run:size=64k,mode=700,uid=1", "--tmpfs=/tmp:noexec"];
    let script = "touch /etc/x 2>/dev/null || echo read-only; stat -c '%a %u' /run; \
                  head -c 100k /dev/zero > /run/x 2>/dev/null || echo full; \
                  cp /bin/busybox /tmp/true; /tmp/true 2>/dev/null || echo noexec; rm /tmp/true";
    assert_eq!(busybox(&flags, script).ok(), "read-only\n700 1\nfull\nnoexec");
}

#[test]
fn vm_names_and_hosts() {
    for kind in KINDS {
        let flags = [kind, &["--hostname=some-name", "--domainname=example.test"]].concat();
        let script = "hostname; cat /proc/sys/kernel/domainname; cat /etc/hostname";
        let said = busybox(&flags, script).ok();
        assert_eq!(said, "some-name\nexample.test\nsome-name", "{kind:?}");
        let flags = [kind, &["--add-host=other:192.0.2.7"]].concat();
        let said = busybox(&flags, "grep other /etc/hosts").ok();
        assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["192.0.2.7", "other"]);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        let said = busybox(&[kind, &["--uts=host"]].concat(), "cat /proc/sys/kernel/hostname").ok();
        assert_eq!(said, host.trim(), "{kind:?}");
    }
}

/// The namespace of a kind that a process is in.
#[track_caller]
fn namespace(pid: &str, kind: &str) -> String {
    let path = format!("/proc/{pid}/ns/{kind}");
    let link = std::fs::read_link(&path).unwrap_or_else(|e| panic!("read {path}: {e}"));
    link.to_str().expect("ASCII").to_owned()
}

#[test]
fn vm_namespaces_of_another_container() {
    let first = asleep(&["--read-only", "--ipc=shareable", "--network=none"]);
    let of = |kind: &str| format!("container:{}{kind}", first.id);
    let (pid, ipc, net) = (of(""), of(""), of(""));
    let words = [
        "create",
        "--read-only",
        &format!("--runtime={}", runtime()),
        &format!("--pid={pid}"),
        &format!("--ipc={ipc}"),
        &format!("--network={net}"),
        "busybox",
        "sleep",
        "1000",
    ];
    let second = Container { id: docker(&words).ok() };
    second.call("start", &[]).ok();
    let [one, other] = [&first, &second].map(|c| c.pid().to_string());
    for kind in ["pid", "ipc", "net"] {
        assert_eq!(namespace(&one, kind), namespace(&other, kind), "{kind}");
        assert_ne!(namespace(&one, kind), namespace("self", kind), "{kind}");
    }
    for kind in ["mnt", "uts", "cgroup"] {
        assert_ne!(namespace(&one, kind), namespace(&other, kind), "{kind}");
    }
    // They see each other's processes and shared memory, and exec is in the same namespaces.
    wait_for("both have begun", || {
        (second.exec(&["ps"]).matches("sleep 1000").count() == 2).then_some(())
    });
    first.exec(&["sh", "-c", "echo shared > /dev/shm/x"]);
    assert_eq!(second.exec(&["cat", "/dev/shm/x"]), "shared");
    second.call("kill", &[]).ok();
    second.becomes("exited");
    assert_eq!(first.exec(&["echo", "alive"]), "alive");
}

#[test]
fn vm_namespaces_of_the_host() {
    let words = [
        "create",
        &format!("--runtime={}", runtime()),
        "--pid=host",
        "--ipc=host",
        "--network=host",
        "--cgroupns=host",
        "busybox",
        "sleep",
        "1000",
    ];
    let container = Container { id: docker(&words).ok() };
    container.call("start", &[]).ok();
    let pid = container.pid().to_string();
    for kind in ["pid", "ipc", "net", "cgroup"] {
        assert_eq!(namespace(&pid, kind), namespace("1", kind), "{kind}");
    }
    assert_ne!(namespace(&pid, "mnt"), namespace("1", "mnt"));
    container.call("kill", &[]).ok();
    container.becomes("exited");
}

#[test]
fn vm_two_containers_that_serve_each_other() {
    // What a compose file would have: one network namespace, one volume, one after the other.
    let volume = sharedroot_tests::command::unique_name("volume");
    let mount = format!("--volume={volume}:/tmp");
    let server = "mkdir -p /tmp/www; echo served > /tmp/www/index.html; exec httpd -f -p 127.0.0.1:8080 -h /tmp/www";
    let first = Container::generic(&["--read-only", &mount, "busybox", "sh", "-c", server]);
    let network = format!("--network=container:{}", first.id);
    let runtime = format!("--runtime={}", runtime());
    let client = "for n in $(seq 60); do wget -q -O - http://127.0.0.1:8080/index.html && break; sleep 1; done; cat /tmp/www/index.html";
    let words = ["run", "--rm", &network, &runtime, &mount, "busybox", "sh", "-c", client];
    assert_eq!(docker(&words).ok(), "served\nserved");
    drop(first);
    run(&["docker", "volume", "rm", "--force", &volume]).ok();
}
