//! What masks a path, and what becomes the console, exchanged at the worst moment (CVE-2025-31133, CVE-2025-52565).
//! Generic: another runtime may pass or show that it is open to the attack.
//!
//! The racing process is one that always wins: a createContainer hook, which runs when the devices are made and
//! before the container's root is entered.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::json;
use sharedroot_tests::attack::{Target, script, targets};
use sharedroot_tests::command::{Output, unique_name};
use sharedroot_tests::kernel_view::{Mount, mounts_of};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::{Container, Runtime};

/// Makes the attack's script the hook of the bundle, with the root in `$1`.
#[track_caller]
fn exchange(target: &Target, attack: &str) {
    let hook = target.path().join("hook");
    script(&hook, &format!("#!/bin/sh\nset -e\n{attack}\n"));
    let root = target.path().join("rootfs");
    target.edit(|config| {
        let entry = json!({ "path": hook, "args": ["hook", root], "env": ["PATH=/usr/bin:/usr/sbin:/bin:/sbin"] });
        config["hooks"]["createContainer"] = json!([entry]);
    });
}

/// `create`, whatever comes of it, and the mounts that the container has then.
fn create<'r>(
    runtime: &'r Runtime,
    target: &Target,
    flags: &[&str],
) -> (Container<'r>, Output, Vec<Mount>) {
    let container = runtime.container(unique_name("mask"));
    let words = [&["create", "--bundle", target.str()][..], flags, &[&container.id]].concat();
    let output = runtime.cmd(&words).run();
    let mounts = match output.status {
        0 => mounts_of(&container.pid().to_string()),
        _ => Vec::new(),
    };
    (container, output, mounts)
}

const MASKED: [&str; 3] = ["/proc/kcore", "/proc/timer_list", "/etc/secret"];

#[test]
fn vm_a_mask_is_the_null_device() {
    let runtime = Runtime::of_env();
    let image = |root: &Path| fs::write(root.join("etc/secret"), "secret").unwrap();
    let link = |aim: &str| format!("rm $1/dev/null; ln -s {aim} $1/dev/null");
    let attacks = [
        ("none", "true".to_owned()),
        ("a link to procfs", link("/proc/sys/kernel/core_pattern")),
        ("a link to a file", link("/etc/passwd")),
        ("a link to another device", link("/dev/zero")),
        ("another device", "rm $1/dev/null; mknod $1/dev/null c 1 5".to_owned()),
        ("a file", "rm $1/dev/null; echo fake > $1/dev/null".to_owned()),
        ("a directory", "rm $1/dev/null; mkdir $1/dev/null".to_owned()),
        ("nothing", "rm $1/dev/null".to_owned()),
    ];
    for target in targets(&runtime, &["sleep", "1000"], image) {
        target.edit(|config| config["linux"]["maskedPaths"] = json!(MASKED));
        for (name, attack) in &attacks {
            exchange(&target, attack);
            let (_container, output, mounts) = create(&runtime, &target, &[]);
            let what = format!("{name} on a root {}: {output}", target.kind);
            assert!(output.status == 0 || *name != "none", "{what}");
            if output.status != 0 {
                continue;
            }
            // It may also have a null device of its own.
            for path in
                MASKED.iter().filter(|path| Path::new(path).exists() || path.starts_with("/etc"))
            {
                let mask = mounts.iter().rfind(|mount| mount.at == **path);
                let mask = mask.unwrap_or_else(|| panic!("{path} is open, {what}"));
                assert!(mask.root.ends_with("/null"), "{mask:?}, {what}");
            }
        }
    }
}

#[test]
fn vm_the_console_is_a_terminal() {
    let (runtime, dir) = (Runtime::of_env(), TempDir::new("console"));
    let image = |root: &Path| fs::write(root.join("etc/secret"), "secret").unwrap();
    let attacks = [
        ("none", "true"),
        ("a link to a file", "rm -f $1/dev/console; ln -s /etc/secret $1/dev/console"),
        (
            "a link to procfs",
            "rm -f $1/dev/console; ln -s /proc/sys/kernel/domainname $1/dev/console",
        ),
        ("a link to nothing", "rm -f $1/dev/console; ln -s /dev/shm/made $1/dev/console"),
        ("no terminals", "umount $1/dev/pts; ln -s /etc/secret $1/dev/pts/ptmx"),
        ("another multiplexer", "rm -f $1/dev/ptmx; ln -s /etc/secret $1/dev/ptmx"),
    ];
    for target in targets(&runtime, &["sleep", "1000"], image) {
        target.edit(|config| config["process"]["terminal"] = json!(true));
        for (at, (name, attack)) in attacks.iter().enumerate() {
            exchange(&target, attack);
            let socket = dir.0.join(format!("{}-{at}", target.kind.replace(' ', "-")));
            let _listener = UnixListener::bind(&socket).unwrap();
            let flags = ["--console-socket", socket.to_str().unwrap()];
            let (container, output, mounts) = create(&runtime, &target, &flags);
            let what = format!("{name} on a root {}: {output}", target.kind);
            assert!(output.status == 0 || *name != "none", "{what}");
            if output.status != 0 {
                continue;
            }
            let console: Vec<_> =
                mounts.iter().filter(|mount| mount.at == "/dev/console").collect();
            let fine = console.len() == 1 && console[0].fstype == "devpts";
            assert!(fine || *name != "none", "{console:#?} {what}");
            let stray = mounts
                .iter()
                .find(|mount| mount.at.starts_with("/etc") || mount.at.contains("domainname"));
            assert_eq!(stray, None, "{what}");
            let made = format!("/proc/{}/root/dev/shm/made", container.pid());
            assert!(!Path::new(&made).exists(), "{made}, {what}");
        }
    }
}
