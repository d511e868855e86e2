//! Mounts whose places are links of the image into other mounts, and file systems in memory: `docker run` and `ctr run` with
//! runc and with ours, on both kinds of root.
//!
//! Guest: --limit 1500 --shim long

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use sharedroot_tests::beside::{beside_runc, seen};
use sharedroot_tests::command::{Cmd, out, unique_name};
use sharedroot_tests::docker::{Container, FreshImage, KINDS, ctr_runtime, docker_run};
use sharedroot_tests::lab::TempDir;

/// What systemd's and Debian's packages put into images, and a link into what is a volume, below `at`.
fn make_links(root: &Path, at: &str) {
    for dir in ["run", "var", "mnt", "etc", "memory"] {
        fs::create_dir_all(root.join(at).join(dir)).unwrap();
    }
    for (target, link) in [
        ("../run/systemd/resolve/stub-resolv.conf", "etc/resolv.conf"),
        ("RUN", "var/run"),
        ("RUN/lock", "var/lock"),
        ("RUN/adjtime", "etc/adjtime"),
        ("MNT/data/conf", "etc/app.conf"),
    ] {
        let [run, mnt] = ["run", "mnt"].map(|name| Path::new("/").join(at).join(name));
        let target = target.replace("RUN", run.to_str().unwrap());
        let target = target.replace("MNT", mnt.to_str().unwrap());
        symlink(target, root.join(at).join(link)).unwrap();
    }
}

/// For each case a directory and a file.
fn volumes() -> TempDir {
    let dir = TempDir::new("volumes");
    for (at, _, _) in CASES {
        let own = dir.0.join(&at[1..]);
        fs::create_dir_all(own.join("dir/data")).unwrap();
        fs::write(own.join("dir/inside"), "in the directory\n").unwrap();
        fs::write(own.join("file"), "in the file\n").unwrap();
    }
    dir
}

/// Runs one command line with both runtimes on both kinds of root; also what it left in the volumes must be equal. Each `docker
/// run` takes a second, so a line has many mounts.
#[track_caller]
fn same(image: &FreshImage, flags: &[String], script: &str) -> [i32; 2] {
    KINDS.map(|kind| {
        let (status, said, _) = beside_runc(&format!("{kind:?} {flags:?}"), |runtime| {
            let dir = volumes();
            let flags: Vec<_> = flags.iter().map(|flag| flag.replace('@', dir.str())).collect();
            let flags: Vec<_> = flags.iter().map(String::as_str).collect();
            let words = [kind, &flags, &[image.name(), "sh", "-c", script]].concat();
            let (status, said) = seen(&docker_run(runtime, &words));
            let find = format!("cd {} && find . -printf '%p %y\\n' | sort", dir.str());
            (status, said, out(&["sh", "-c", &find]))
        });
        println!("{kind:?}: {status}\n{said}");
        status
    })
}

/// Below which directory of the image, the mounts there, and what to look at. `~` stands for the directory, `@` for one of the
/// host of this case alone.
const CASES: [(&str, &[&str], &str); 8] = [
    ("/a", &["--tmpfs=~/run", "--volume=@/file:~/var/lock/l"], "~/var/lock/l ~/run/lock/l"),
    ("/b", &["--tmpfs=~/run", "--volume=@/dir:~/var/lock"], "~/run/lock ~/var/lock/inside"),
    ("/c", &["--tmpfs=~/run", "--volume=@/file:~/etc/adjtime"], "~/etc/adjtime ~/run/adjtime"),
    ("/d", &["--tmpfs=~/var/run", "--volume=@/file:~/etc/adjtime:ro"], "~/run/adjtime"),
    ("/e", &["--tmpfs=~/run", "--tmpfs=~/var/lock"], "~/run/lock"),
    // In a volume the host has the mount point afterwards.
    ("/f", &["--volume=@/dir:~/mnt", "--volume=@/file:~/etc/app.conf"], "~/mnt/data/conf"),
    ("/g", &["--volume=@/dir:~/run", "--volume=@/file:~/etc/adjtime"], "~/run/adjtime"),
    // Without another mount on the way the place is made in the root.
    ("/h", &["--volume=@/file:~/etc/adjtime"], "~/etc/adjtime ~/run/adjtime"),
];

#[test]
fn vm_mounts_behind_links_into_other_mounts() {
    let image = FreshImage::made(|root| {
        for (at, _, _) in CASES {
            make_links(root, &at[1..]);
        }
        make_links(root, "");
    });
    let (mut flags, mut script) = (Vec::new(), String::new());
    for (at, words, paths) in CASES {
        let host = format!("@{at}");
        let words = words.iter().map(|word| word.replace('~', at).replace('@', &host));
        flags.extend(words);
        let paths = paths.replace('~', at);
        script += &format!(
            "for p in {paths}; do [ -d $p ] && ls $p || cat $p; busybox stat -L -c '%n %F %a' $p;
             grep -c \" $p \" /proc/mounts; done\n"
        );
    }
    assert_eq!(same(&image, &flags, &script), [0, 0]);
    // In a volume that is read-only nobody makes the mount point.
    let flags = ["--volume=@/a/dir:/mnt:ro", "--volume=@/a/file:/etc/app.conf"].map(str::to_owned);
    assert!(!same(&image, &flags, "true").contains(&0));
}

#[test]
fn vm_memory_has_runcs_mode_and_size() {
    let image = FreshImage::made(|root| {
        for n in 1..=4 {
            fs::create_dir(root.join(format!("memory{n}"))).unwrap();
        }
    });
    let (mut flags, mut script) = (Vec::new(), String::new());
    for (flag, path) in [
        ("--tmpfs=/memory1", "/memory1"),
        // Not in the image: the kernel's own mode.
        ("--tmpfs=/new1", "/new1"),
        ("--tmpfs=/new2/deep", "/new2/deep"),
        ("--tmpfs=/memory2:size=64k", "/memory2"),
        ("--tmpfs=/memory3:mode=1770,uid=5,gid=6", "/memory3"),
        ("--mount=type=tmpfs,dst=/memory4,tmpfs-mode=0700", "/memory4"),
        ("--mount=type=tmpfs,dst=/new3,tmpfs-size=65536", "/new3"),
        ("--tmpfs=/run", "/run"),
        ("--tmpfs=/run/below", "/run/below"),
        ("--tmpfs=/tmp:rw,exec,size=1m", "/tmp"),
    ] {
        flags.push(flag.to_owned());
        script += &format!("busybox stat -c '%n %a %u:%g' {path}; grep ' {path} ' /proc/mounts\n");
    }
    assert_eq!(same(&image, &flags, &script), [0, 0]);
}

/// containerd's own configuration has a file system in memory at `/run`. What the container says goes into a volume: `ctr run`
/// closes the streams when it hears of the end, and loses what it has not read by then.
#[test]
fn vm_ctr_mounts_behind_links() {
    let image = FreshImage::made(|root| make_links(root, ""));
    let dir = volumes();
    fs::create_dir(dir.0.join("a/said")).unwrap();
    let tar = dir.0.join("image.tar");
    let tar = tar.to_str().unwrap();
    out(&["docker", "save", "--output", tar, image.name()]);
    let name = format!("docker.io/library/{}:latest", image.name());
    out(&["ctr", "image", "import", tar]);
    let bind = |from: &str, to: &str| {
        format!("--mount=type=bind,src={}/a/{from},dst={to},options=rbind:rw", dir.str())
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
                let text = dir.0.join("a/said/text");
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
