//! Mounts whose places are links of the image into other mounts, and file systems in memory: `docker run` and `ctr run` with
//! runc and with ours, on both kinds of root.
//!
//! Guest: --limit 1500

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use sharedroot_tests::beside::{beside_runc, seen};
use sharedroot_tests::command::{Cmd, out, unique_name};
use sharedroot_tests::docker::{Container, FreshImage, KINDS, ctr_runtime, docker_run};
use sharedroot_tests::lab::TempDir;

/// What systemd's and Debian's packages put into images, and a link into what is a volume.
fn make_links(root: &Path) {
    for dir in ["run", "var", "mnt", "memory"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for (target, link) in [
        ("../run/systemd/resolve/stub-resolv.conf", "etc/resolv.conf"),
        ("/run", "var/run"),
        ("/run/lock", "var/lock"),
        ("/run/adjtime", "etc/adjtime"),
        ("/mnt/data/conf", "etc/app.conf"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
}

fn volumes() -> TempDir {
    let dir = TempDir::new("volumes");
    fs::create_dir_all(dir.0.join("dir/data")).unwrap();
    fs::write(dir.0.join("dir/inside"), "in the directory\n").unwrap();
    fs::write(dir.0.join("file"), "in the file\n").unwrap();
    dir
}

/// Runs one command line with both runtimes on both kinds of root; also what it left in the volumes must be equal.
#[track_caller]
fn same(image: &FreshImage, flags: &[&str], script: &str) {
    for kind in KINDS {
        let (status, _, _) = beside_runc(&format!("{kind:?} {flags:?}"), |runtime| {
            let dir = volumes();
            let flags: Vec<_> = flags.iter().map(|flag| flag.replace('@', dir.str())).collect();
            let flags: Vec<_> = flags.iter().map(String::as_str).collect();
            let words = [kind, &flags, &[image.name(), "sh", "-c", script]].concat();
            let (status, said) = seen(&docker_run(runtime, &words));
            let find = format!("cd {} && find . -printf '%p %y\\n' | sort", dir.str());
            (status, said, out(&["sh", "-c", &find]))
        });
        println!("{kind:?} {flags:?}: {status}");
    }
}

#[test]
fn vm_mounts_behind_links_into_other_mounts() {
    let image = FreshImage::made(make_links);
    let cat = |paths: &str| format!("cat {paths}; ls -l {paths} | wc -l");
    same(&image, &["--tmpfs=/run", "--volume=@/file:/var/lock/l"], &cat("/var/lock/l /run/lock/l"));
    same(&image, &["--tmpfs=/run", "--volume=@/dir:/var/lock"], "ls /run/lock /var/lock");
    same(
        &image,
        &["--tmpfs=/run", "--volume=@/file:/etc/adjtime"],
        &cat("/etc/adjtime /run/adjtime"),
    );
    same(&image, &["--tmpfs=/var/run", "--volume=@/file:/etc/adjtime:ro"], &cat("/run/adjtime"));
    same(
        &image,
        &["--tmpfs=/run", "--tmpfs=/var/lock"],
        "grep -c ' /run/lock ' /proc/mounts; busybox stat -c %a /run/lock",
    );
    // In a volume the host has the mount point afterwards; in one that is read-only nobody makes it.
    same(&image, &["--volume=@/dir:/mnt", "--volume=@/file:/etc/app.conf"], &cat("/mnt/data/conf"));
    same(&image, &["--volume=@/dir:/mnt:ro", "--volume=@/file:/etc/app.conf"], "true");
    same(&image, &["--volume=@/dir:/run", "--volume=@/file:/etc/adjtime"], &cat("/run/adjtime"));
    // Without another mount on the way the place is made in the root.
    same(&image, &["--volume=@/file:/etc/adjtime"], &cat("/etc/adjtime /run/adjtime"));
}

#[test]
fn vm_memory_has_runcs_mode_and_size() {
    let image = FreshImage::made(make_links);
    let look =
        |path: &str| format!("busybox stat -c '%a %u:%g' {path}; busybox df -k {path} | wc -l");
    for (flags, path) in [
        (&["--tmpfs=/memory"][..], "/memory"),
        // Not in the image: the kernel's own mode.
        (&["--tmpfs=/new"], "/new"),
        (&["--tmpfs=/new/deep"], "/new/deep"),
        (&["--tmpfs=/memory:size=64k"], "/memory"),
        (&["--tmpfs=/memory:mode=1770,uid=5,gid=6"], "/memory"),
        (&["--mount=type=tmpfs,dst=/memory,tmpfs-mode=0700"], "/memory"),
        (&["--mount=type=tmpfs,dst=/new,tmpfs-size=65536"], "/new"),
        (&["--tmpfs=/run", "--tmpfs=/run/below"], "/run/below"),
        (&["--tmpfs=/tmp:rw,exec,size=1m"], "/tmp"),
    ] {
        same(&image, flags, &look(path));
    }
}

/// containerd's own configuration has a file system in memory at `/run`. What the container says goes into a volume: `ctr run`
/// closes the streams when it hears of the end, and loses what it has not read by then.
#[test]
fn vm_ctr_mounts_behind_links() {
    let image = FreshImage::made(make_links);
    let dir = volumes();
    fs::create_dir(dir.0.join("said")).unwrap();
    let tar = dir.0.join("image.tar");
    let tar = tar.to_str().unwrap();
    out(&["docker", "save", "--output", tar, image.name()]);
    let name = format!("docker.io/library/{}:latest", image.name());
    out(&["ctr", "image", "import", tar]);
    let bind = |from: &str, to: &str| {
        format!("--mount=type=bind,src={}/{from},dst={to},options=rbind:rw", dir.str())
    };
    let resolv = bind("file", "/etc/resolv.conf");
    let look = "cat /etc/resolv.conf; ls /run/systemd/resolve";
    for (mounts, script) in [
        (vec![resolv.clone()], look),
        (vec!["--mount=type=tmpfs,src=tmpfs,dst=/run,options=rw".to_owned(), resolv.clone()], look),
        (vec![bind("dir", "/run"), resolv.clone()], look),
        (vec![bind("file", "/var/lock/l")], "cat /run/lock/l"),
    ] {
        let into = bind("said", "/memory");
        let script = format!("{{ {script}; }} > /memory/text 2>&1");
        for kind in KINDS {
            let (status, _) = beside_runc(&format!("{kind:?} {mounts:?}"), |runtime| {
                let runtime = ctr_runtime(runtime);
                let mounts: Vec<_> = mounts.iter().chain([&into]).map(String::as_str).collect();
                let id = unique_name("ctr");
                let text = dir.0.join("said/text");
                let _ = fs::remove_file(&text);
                let words = [
                    &["run", "--rm", &runtime[0], &runtime[1]][..],
                    kind,
                    &mounts,
                    &[&name, &id, "sh", "-c", &script],
                ];
                let status = Cmd::new("ctr").args(&words.concat()).run().status;
                (status, fs::read_to_string(&text).expect("what the container said"))
            });
            assert_eq!(status, 0, "{kind:?} {mounts:?}");
        }
    }
    out(&["ctr", "image", "rm", &name]);
}

/// A stand-in of NVIDIA's hook: it enters the container's mount namespace and makes files below the bundle's root.
#[test]
fn vm_a_hook_writes_into_the_root_of_a_read_only_container() {
    const HOOK: &str = r#"#!/bin/sh
set -e
state=$(cat); pid=$(echo "$state" | jq .pid); bundle=$(echo "$state" | jq -r .bundle)
root=$(jq -r .root.path "$bundle/config.json")
exec nsenter --mount=/proc/$pid/ns/mnt sh -ec "echo cache > $root/etc/made; : > $root/bin/tool; mount --bind /bin/true $root/bin/tool"
"#;
    let image = sharedroot_tests::stack::Image::new();
    let runtime = sharedroot_tests::runtime::Runtime::sharedroot();
    let dir = TempDir::of_programs("hook");
    let hook = dir.0.join("hook");
    fs::write(&hook, HOOK).unwrap();
    out(&["chmod", "755", hook.to_str().unwrap()]);
    let hook = serde_json::json!([{ "path": hook }]);
    for kind in ["prestart", "createRuntime"] {
        let (status, said) = beside_runc(kind, |name| {
            let bundle =
                image.bundle(&runtime, true, &["sh", "-c", "cat /etc/made; touch /etc/no"]);
            bundle.edit(|config| {
                config["hooks"] = serde_json::json!({ kind: hook });
                config["root"]["path"] = serde_json::json!(bundle.rootfs);
            });
            let (root, id) = (TempDir::new("root"), unique_name("gpu"));
            let run = ["--root", root.str(), "run", "--bundle", bundle.str(), &id];
            seen(&Cmd::new(name).args(&run).run())
        });
        assert_eq!((status != 0, said.as_str()), (true, "cache\n"), "read-only once it runs");
    }
    // Docker's own hook and no hook leave the root shared.
    let shared = Container::run(&["--read-only", "--network=bridge", "busybox", "sleep", "1000"]);
    assert_eq!(shared.record()["rootfs"]["kind"], "shared");
}
