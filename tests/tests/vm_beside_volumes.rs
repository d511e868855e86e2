//! Volumes of Docker's beside runc: a part of one, a hundred and fifty of them, and one whose link leads a mount astray.
//!
//! Guest: --limit 800 --shim long

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use sharedroot_tests::beside::{RUNTIMES, beside_runc, seen};
use sharedroot_tests::command::unique_name;
use sharedroot_tests::docker::{KINDS, docker, docker_run};
use sharedroot_tests::lab::TempDir;

/// A volume of Docker's. Dropping it removes it.
struct Volume(String);

impl Volume {
    #[track_caller]
    fn new() -> Self {
        let name = unique_name("volume");
        docker(&["volume", "create", &name]).ok();
        Self(name)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        docker(&["volume", "rm", "--force", &self.0]);
    }
}

/// Kubernetes' `subPath` and Docker's `volume-subpath` are binds of a descriptor below the engine's own directory.
#[test]
fn vm_a_part_of_a_volume() {
    let volume = Volume::new();
    let whole = format!("--volume={}:/whole", volume.0);
    let fill = "mkdir -p /whole/a/b; echo text > /whole/a/b/file; ln -s /etc /whole/link";
    docker_run("runc", &[&whole, "busybox", "sh", "-c", fill]).ok();
    let host = docker(&["volume", "inspect", "--format={{.Mountpoint}}", &volume.0]).ok();
    let look = "cat /part*/file /part*/b/file 2>/dev/null; ls /part*; for p in /part*; do : > $p/new && echo new in $p; done";
    let part = |of: &str, at: &str| {
        format!("--mount=type=volume,src={},dst=/part{at},volume-subpath={of}", volume.0)
    };
    let parts = [part("a", "1"), part("a/b", "2,readonly"), part("a/b/file", "3")];
    for (parts, good) in [
        (&parts[..], true),
        (&[part("link", "")], false),
        (&[part("none", "")], false),
        (&[part("../..", "")], false),
    ] {
        let flags: Vec<_> = parts.iter().map(String::as_str).collect();
        for kind in KINDS {
            let words = [kind, &flags, &["busybox", "sh", "-c", look]].concat();
            let what = format!("{kind:?} {flags:?}");
            let (status, said) = beside_runc(&what, |runtime| {
                let found = seen(&docker_run(runtime, &words));
                // What the other runtime's container made is nothing to find.
                let _ = fs::remove_file(format!("{host}/a/new"));
                found
            });
            println!("{what}: {status} {said}");
            assert_eq!(said.contains("text"), good, "{what}: {said}");
        }
    }
}

#[test]
fn vm_a_hundred_and_fifty_volumes() {
    let dir = TempDir::new("volumes");
    let mut flags = Vec::new();
    for n in 0..150 {
        let (host, access) = (dir.0.join(n.to_string()), if n % 2 == 0 { ":ro" } else { "" });
        fs::create_dir(&host).unwrap();
        fs::write(host.join("file"), format!("{n}\n")).unwrap();
        flags.push(format!("--volume={}:/v/{}/{n}{access}", host.display(), n % 7));
    }
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let look = "cat /v/*/*/file | sort -n | uniq | wc -l; grep -c ' /v/' /proc/mounts";
    for kind in KINDS {
        let words = [kind, &flags, &["busybox", "sh", "-c", look]].concat();
        let found = beside_runc(&format!("{kind:?}"), |runtime| seen(&docker_run(runtime, &words)));
        assert_eq!(found, (0, "150\n150\n".to_owned()), "{kind:?}");
    }
}

/// A volume whose link leads a mount in it over `/dev`: devices are made in what is mounted. With runc it is the same. A name that is
/// there already is nobody's to give away: runc leaves it, and ours makes no container.
#[test]
fn vm_a_link_of_a_volume_that_leads_to_dev_gives_nothing_away() {
    for kind in KINDS {
        let both = RUNTIMES.map(|runtime| {
            let dir = TempDir::new("led");
            for name in ["a", "b", "c", "v"] {
                fs::create_dir(dir.0.join(name)).unwrap();
            }
            symlink("/dev", dir.0.join("a/x")).unwrap();
            symlink("/v/victim", dir.0.join("c/null")).unwrap();
            let victim = dir.0.join("v/victim");
            fs::write(&victim, "").unwrap();
            chown(&victim, Some(1000), Some(1000)).unwrap();
            fs::set_permissions(&victim, fs::Permissions::from_mode(0o4755)).unwrap();
            let run = |over: &str| {
                let volumes = [("v", "/v"), ("a", "/a"), (over, "/a/x")]
                    .map(|(name, at)| format!("--volume={}/{name}:{at}", dir.str()));
                let volumes = volumes.each_ref().map(String::as_str);
                let look = "stat -c %F /dev/null; grep -c ' /dev ' /proc/mounts";
                docker_run(runtime, &[kind, &volumes, &["busybox", "sh", "-c", look]].concat())
            };
            let empty = seen(&run("b"));
            let mut names: Vec<_> = fs::read_dir(dir.0.join("b"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                // The one difference of usual links (docs/gaps.md).
                .filter(|name| !["core", "kcore"].contains(&name.as_str()))
                .collect();
            names.sort();
            let taken = run("c").status;
            let found = fs::metadata(&victim).unwrap();
            assert_eq!((found.mode() & 0o7777, found.uid()), (0o4755, 1000), "{runtime} {kind:?}");
            ((empty, names), taken)
        });
        let [(runc, 0), (ours, 125)] = both else { panic!("{kind:?}: {both:?}") };
        assert_eq!(ours, runc, "{kind:?}");
    }
}
