//! What Docker's users ask for and the embedded engine alone would not do.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200 --shim long

use std::fs;

use sharedroot_tests::command::out;
use sharedroot_tests::docker::{Container, docker_run};
use sharedroot_tests::kernel_view::{mounts_of, root_of};
use sharedroot_tests::lab::TempDir;

/// Volumes of all propagations beside Docker's own files, which are private, on both kinds of root.
#[test]
fn vm_docker_volumes_of_all_propagations() {
    for kind in [&["--read-only"][..], &[]] {
        let dir = TempDir::new("volumes");
        out(&["mount", "-t", "tmpfs", "volumes", dir.str()]);
        out(&["mount", "--make-rshared", dir.str()]);
        let mut words = vec![
            "--cap-add=SYS_ADMIN",
            "--security-opt=seccomp=unconfined",
            "--security-opt=label=disable",
        ];
        words.extend_from_slice(kind);
        let volumes = ["rprivate", "rslave", "rshared"].map(|name| {
            for sub in ["outer", "inner"] {
                fs::create_dir_all(dir.0.join(name).join(sub)).unwrap();
            }
            let at = format!("{}/{name}", dir.str());
            // Each a mount of its own, as a volume's source must be for Docker to take its propagation.
            out(&["mount", "-t", "tmpfs", name, &at]);
            out(&["mount", "--make-rshared", &at]);
            for sub in ["outer", "inner"] {
                fs::create_dir(format!("{at}/{sub}")).unwrap();
            }
            format!("--volume={at}:/tmp/{name}:{name}")
        });
        words.extend(["--tmpfs=/tmp:mode=1777"]);
        words.extend(volumes.iter().map(String::as_str));
        words.extend(["busybox", "sleep", "1000"]);
        let container = Container::run(&words);
        if kind.is_empty() {
            assert!(root_of(container.pid()).is_on_dm(), "its own snapshot");
        } else {
            assert_eq!(container.record()["rootfs"]["kind"], "shared");
        }
        for (name, inside, outside) in
            [("rprivate", false, false), ("rslave", true, false), ("rshared", true, true)]
        {
            let at = format!("{}/{name}", dir.str());
            out(&["mount", "-t", "tmpfs", "outer", &format!("{at}/outer")]);
            fs::write(format!("{at}/outer/mark"), "").unwrap();
            let mark = format!("/tmp/{name}/outer/mark");
            let seen = container.call("exec", &["test", "-e", &mark]).status == 0;
            assert_eq!(seen, inside, "{kind:?} {name}: the host's mount inside");
            let inner = format!("/tmp/{name}/inner");
            container.exec(&["mount", "-t", "tmpfs", "inner", &inner]);
            let path = format!("{at}/inner");
            let seen = mounts_of("self").iter().any(|mount| mount.at == path);
            assert_eq!(seen, outside, "{kind:?} {name}: the container's mount on the host");
        }
        drop(container);
        out(&["umount", "--recursive", dir.str()]);
        let left = mounts_of("self").into_iter().filter(|m| m.at.starts_with(dir.str())).count();
        assert_eq!(left, 0, "mounts below {}", dir.str());
    }
}

#[test]
fn vm_docker_users_own_their_streams() {
    let write = "echo a > /dev/stdout; echo b > /dev/stderr";
    let run = docker_run("sharedroot", &["--user=1000", "busybox", "sh", "-c", write]);
    assert_eq!((run.status, &*run.stdout, &*run.stderr), (0, "a\n", "b\n"), "{run}");
    let run = docker_run(
        "sharedroot",
        &["--tty", "--user=1000", "busybox", "stat", "-c", "%u", "/dev/console"],
    );
    assert_eq!(run.ok(), "1000");
}
