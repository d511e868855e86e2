//! The SELinux label of an exec in a container whose root put something else in the place of procfs
//! (CVE-2019-16884, CVE-2025-52881). In a guest where SELinux only records, so that the container may mount.
//!
//! Guest: --selinux permissive --no-docker

use std::fs;

use serde_json::json;
use sharedroot_tests::attack::{allow, targets};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::unique_name;
use sharedroot_tests::kernel_view::has_begun;
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

const LABEL: &str = "system_u:system_r:container_t:s0:c1,c2";

/// A file that swallows what is written, over `exec` in a true directory `attr`, below a `/proc` of its own.
const SWALLOW: &str = "
    busybox mount -t tmpfs none /tmp && mkdir /tmp/attr && touch /tmp/exec
    busybox mount --bind /proc/1/attr /tmp/attr
    busybox mount --bind /tmp/exec /tmp/attr/exec
    busybox mount -t tmpfs none /proc && mkdir -p /proc/self/attr /proc/thread-self/attr
    busybox mount --rbind /tmp/attr /proc/self/attr
    busybox mount --rbind /tmp/attr /proc/thread-self/attr";

/// Nothing of procfs is left.
const HIDE: &str =
    "busybox mount -t tmpfs none /proc && mkdir -p /proc/self/attr /proc/thread-self/attr";

/// Another true file of procfs in its place.
const REDIRECT: &str = "
    busybox mount -t tmpfs none /tmp && mkdir -p /tmp/1/attr && touch /tmp/1/attr/exec
    busybox mount --bind /proc/sys/kernel/domainname /tmp/1/attr/exec
    busybox mount -t tmpfs none /proc && mkdir -p /proc/self /proc/thread-self
    busybox mount --rbind /tmp/1 /proc/self
    busybox mount --rbind /tmp/1 /proc/thread-self";

/// Without its label a process would be confined as its caller is, which is not at all.
#[test]
fn vm_no_process_starts_without_its_label() {
    const UNKNOWN: &str = "system_u:system_r:no_such_t:s0";
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    // A keyring of the container's own would get the label first, and be what is refused.
    let create =
        |id: &str| runtime.cmd(&["create", "--no-new-keyring", "--bundle", bundle.str(), id]).run();
    let container = runtime.container(unique_name("label"));
    create(&container.id).ok();
    container.call("start", &[]).ok();
    let exec = container.exec(&["--process-label", UNKNOWN], &["echo", "ran"]);
    assert!(exec.status != 0 && exec.stdout.is_empty(), "{exec}");
    let before = Census::take();
    bundle.edit(|config| config["process"]["selinuxLabel"] = json!(UNKNOWN));
    let refused = create(&unique_name("label"));
    assert_ne!(refused.status, 0, "{refused}");
    before.nothing_left();
}

#[test]
fn vm_the_label_of_an_exec_is_not_swallowed() {
    let (runtime, dir) = (Runtime::of_env(), TempDir::new("pids"));
    assert_eq!(
        fs::read_to_string("/sys/fs/selinux/enforce").unwrap(),
        "0",
        "run this by hack/test"
    );
    let file = dir.0.join("pid");
    let label_of = |pid: &str| {
        let label = fs::read_to_string(format!("/proc/{}/attr/current", pid.trim())).unwrap();
        label.trim_end_matches(['\0', '\n']).to_owned()
    };
    for target in targets(&runtime, &["sleep", "1000"], |_| {}) {
        target.edit(|config| {
            config["process"]["selinuxLabel"] = json!(LABEL);
            config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0:c1,c2");
            allow(config, &["CAP_SYS_ADMIN"]);
        });
        for (attack, script) in
            [("none", "true"), ("swallow", SWALLOW), ("hide", HIDE), ("redirect", REDIRECT)]
        {
            let what = format!("{attack} on a root {}", target.kind);
            let container = target.start(&runtime);
            assert_eq!(label_of(&container.pid().to_string()), LABEL, "{what}: init");
            let mounted = container.exec(&[], &["sh", "-ec", script]);
            assert_eq!(mounted.status, 0, "{what}: {mounted}");
            let _ = fs::remove_file(&file);
            let exec = container
                .exec(&["--detach", "--pid-file", file.to_str().unwrap()], &["sleep", "1000"]);
            // Either it is refused, or it runs under its label. In an unchanged container it runs.
            assert!(exec.status == 0 || attack != "none", "{what}: {exec}");
            if exec.status == 0 {
                let pid = fs::read_to_string(&file).unwrap();
                has_begun(pid.trim().parse().unwrap());
                assert_eq!(label_of(&pid), LABEL, "{what}: exec");
            }
            let fake = container.exec(&[], &["cat", "/tmp/exec", "/proc/sys/kernel/domainname"]);
            assert!(!fake.stdout.contains("container_t"), "{what}: {fake}");
        }
    }
}
