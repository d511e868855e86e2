//! Volumes, tmpfs and mount propagation as Docker asks for them. Generic: passes with `RUNTIME=runc`, too.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200 --takes 80 --shim long

use std::fs;

use sharedroot_tests::command::{out, run, unique_name};
use sharedroot_tests::docker::{Container, KINDS, asleep, busybox, docker_run, runtime};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::shim;

/// What is mounted below a volume later has no label for containers, and SELinux lets none of them mount.
const NO_LABEL: &str = "--security-opt=label=disable";

/// A directory of the host that is a mount of its own, of a given propagation. Dropping it unmounts all of it.
struct Place(TempDir);

impl Place {
    #[track_caller]
    fn new(propagation: &str) -> Self {
        let place = Self(TempDir::new("place"));
        out(&["mount", "-t", "tmpfs", "place", place.path()]);
        out(&["mount", &format!("--make-{propagation}"), place.path()]);
        fs::create_dir_all(place.0.0.join("early")).expect("make a directory");
        fs::create_dir_all(place.0.0.join("late")).expect("make a directory");
        place
    }

    fn path(&self) -> &str {
        self.0.str()
    }

    /// Mounts a tmpfs with one file on a directory of it.
    #[track_caller]
    fn mount(&self, name: &str) {
        let at = format!("{}/{name}", self.path());
        out(&["mount", "-t", "tmpfs", name, &at]);
        fs::write(format!("{at}/mark"), name).expect("write a file");
    }

    fn is_mounted(&self, name: &str) -> bool {
        run(&["mountpoint", "--quiet", &format!("{}/{name}", self.path())]).status == 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        run(&["umount", "--recursive", "--lazy", self.path()]);
    }
}

#[test]
fn vm_mounts_of_the_host_arrive_as_the_propagation_says() {
    for (mode, arrives) in [
        ("rprivate", false),
        ("private", false),
        ("rslave", true),
        ("slave", true),
        ("rshared", true),
    ] {
        for kind in KINDS {
            let place = Place::new("rshared");
            place.mount("early");
            let volume = format!("--volume={}:/tmp:{mode}", place.path());
            let container = asleep(&[kind, &[&volume, NO_LABEL]].concat());
            // Docker binds recursively, whatever the mode: what was there before is there.
            assert_eq!(container.exec(&["cat", "/tmp/early/mark"]), "early", "{kind:?} {mode}");
            place.mount("late");
            let late = container.call("exec", &["cat", "/tmp/late/mark"]);
            assert_eq!(late.stdout, if arrives { "late" } else { "" }, "{kind:?} {mode}: {late}");
        }
    }
}

#[test]
fn vm_mounts_of_the_container_leave_it_only_when_shared() {
    for (mode, leaves) in
        [("rshared", true), ("shared", true), ("rslave", false), ("rprivate", false)]
    {
        for kind in KINDS {
            let place = Place::new("rshared");
            let volume = format!("--volume={}:/tmp:{mode}", place.path());
            let container = asleep(
                &[
                    kind,
                    &[
                        NO_LABEL,
                        "--cap-add=SYS_ADMIN",
                        "--security-opt=apparmor=unconfined",
                        &volume,
                    ],
                ]
                .concat(),
            );
            container.exec(&["mount", "-t", "tmpfs", "inner", "/tmp/late"]);
            assert_eq!(place.is_mounted("late"), leaves, "{kind:?} {mode}");
        }
    }
}

#[test]
fn vm_volumes_of_different_propagation() {
    for kind in KINDS {
        let (slave, private) = (Place::new("rshared"), Place::new("rshared"));
        let flags = [
            &format!("--volume={}:/tmp:rslave", slave.path()),
            &format!("--volume={}:/mnt:rprivate", private.path()),
        ];
        let words = [kind, &[flags[0], flags[1], NO_LABEL, "debian", "sleep", "1000"]].concat();
        let container = Container::generic(&words);
        slave.mount("late");
        private.mount("late");
        assert_eq!(container.exec(&["cat", "/tmp/late/mark"]), "late", "{kind:?}");
        let private = container.call("exec", &["cat", "/mnt/late/mark"]);
        assert_ne!(private.status, 0, "{kind:?}: {private}");
    }
}

#[test]
fn vm_a_volume_that_cannot_be_shared_is_refused() {
    let place = Place::new("rprivate");
    let volume = format!("--volume={}:/tmp:rshared", place.path());
    let refused = busybox(&["--read-only", &volume], "true");
    assert!(refused.status != 0 && refused.stderr.contains("not a shared mount"), "{refused}");
}

#[test]
fn vm_read_only_volumes_are_read_only_below_too() {
    for kind in KINDS {
        let place = Place::new("rprivate");
        place.mount("early");
        let volume = format!("--volume={}:/tmp:ro", place.path());
        let script = "cat /tmp/early/mark; touch /tmp/x 2>/dev/null || echo -read; touch /tmp/early/x 2>/dev/null || echo only";
        let said = busybox(&[kind, &[NO_LABEL, &volume]].concat(), script).ok();
        // Docker asks a runtime with a path for its features, and a runtime with a type for none. Without them Docker does not
        // ask for mounts that are read-only below (docs/containerd-shim.md).
        let below = if shim::is_meant() { "" } else { "\nonly" };
        assert_eq!(said, format!("early-read{below}"), "{kind:?}");
        let written = fs::exists(format!("{}/early/x", place.path())).expect("look");
        assert_eq!(written, shim::is_meant(), "{kind:?}");
    }
}

#[test]
fn vm_a_file_and_a_socket_as_volumes() {
    let dir = TempDir::new("file");
    let file = dir.0.join("file");
    fs::write(&file, "of the host\n").expect("write a file");
    for kind in KINDS {
        let volume = format!("--volume={}:/etc/passwd:ro,z", file.display());
        let flags =
            [kind, &[NO_LABEL, &volume, "--volume=/run/docker.sock:/tmp/docker.sock"]].concat();
        let script = "cat /etc/passwd; test -S /tmp/docker.sock && echo socket; echo x 2>/dev/null > /etc/passwd || echo read-only";
        assert_eq!(busybox(&flags, script).ok(), "of the host\nsocket\nread-only", "{kind:?}");
    }
}

#[test]
fn vm_named_volumes_keep_and_share_what_is_written() {
    for kind in KINDS {
        let name = unique_name("volume");
        let volume = format!("--volume={name}:/tmp");
        busybox(&[kind, &[&volume]].concat(), "echo kept > /tmp/file").ok();
        assert_eq!(busybox(&[kind, &[&volume]].concat(), "cat /tmp/file").ok(), "kept", "{kind:?}");
        let first = asleep(&[kind, &[&volume]].concat());
        let from = format!("--volumes-from={}:ro", first.id);
        let script = "cat /tmp/file; touch /tmp/x 2>/dev/null || echo read-only";
        assert_eq!(busybox(&[kind, &[&from]].concat(), script).ok(), "kept\nread-only");
        drop(first);
        // A volume that is new begins with what the image has there.
        let other = unique_name("volume");
        let volume = format!("--volume={other}:/etc");
        let passwd = busybox(&[kind, &[&volume]].concat(), "cat /etc/passwd").ok();
        assert!(passwd.starts_with("root:"), "{kind:?}: {passwd}");
        out(&["docker", "volume", "rm", &name, &other]);
    }
}

#[test]
fn vm_a_tmpfs_has_its_options() {
    for kind in KINDS {
        let flags = [
            kind,
            &[
                "--mount=type=tmpfs,destination=/tmp,tmpfs-size=65536,tmpfs-mode=1770",
                "--shm-size=128k",
            ],
        ];
        let script = "stat -c %a /tmp; head -c 100k /dev/zero > /tmp/x 2>/dev/null || echo full; \
                      df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2; grep ' /tmp ' /proc/mounts";
        let said = busybox(&flags.concat(), script).ok();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[..3], ["1770", "full", "128"], "{kind:?}: {said}");
        for option in ["nosuid", "nodev", "noexec"] {
            assert!(lines[3].contains(option), "{kind:?}: {said}");
        }
    }
}

#[test]
fn vm_a_volume_over_a_link_stays_inside() {
    // The image's /usr/share/lab/absolute is a link to an absolute path of the container, not of the host.
    for kind in KINDS {
        let dir = TempDir::new("link");
        fs::write(dir.0.join("mark"), "here").expect("write a file");
        let volume = format!("--volume={}:/etc/dev/volume:z", dir.str());
        let words = [kind, &[&volume, "debian", "sh", "-c", "cat /dev/volume/mark"]].concat();
        assert_eq!(docker_run(&runtime(), &words).ok(), "here", "{kind:?}");
        assert!(!fs::exists("/dev/volume").expect("look"), "{kind:?}: the host's /dev was written");
    }
}
