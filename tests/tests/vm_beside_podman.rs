//! `podman run` with runc and with ours: a user namespace, and where a process finds its files. vm_beside_podman_options has the
//! other options of podman's manual.
//!
//! Guest: --no-docker --limit 900 --takes 60

use std::fs;

use sharedroot_tests::command::out;
use sharedroot_tests::lab::only_in_lab;
use sharedroot_tests::podman::{IMAGE, looks, same};

/// A device of the host in a directory of its own: a user namespace gets it by the same path. Dropping it removes both.
struct Device;

impl Device {
    const DIRECTORY: &str = "/dev/of-the-test";
    const NODE: &str = "/dev/of-the-test/deep/node";

    fn new() -> Self {
        only_in_lab();
        out(&["mkdir", "--parents", "/dev/of-the-test/deep"]);
        out(&["mknod", "--mode=0666", Self::NODE, "c", "1", "5"]);
        Self
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        fs::remove_dir_all(Self::DIRECTORY).expect("remove a directory");
    }
}

/// Limits above podman's own, podman's files in a directory of root's, and directories of devices, which the engine makes.
#[test]
fn vm_a_user_namespace_of_its_own() {
    let _device = Device::new();
    let look = "id; cat /proc/self/uid_map; ulimit -n; ulimit -Hn; ulimit -u; grep -c . /etc/hosts; \
                cat /x; ls -lnd / /dev/shm /x | cut -c1-40; touch /dev/shm/new /x; \
                cd /dev/of-the-test; ls -lnd . deep deep/node | cut -c1-30; : > deep/node && echo opens";
    let maps = ["--network=none", "--uidmap=0:100000:2000", "--gidmap=0:100000:2000"];
    let device = format!("--device={}", Device::NODE);
    let more = ["--ulimit=nofile=20:99999", "--volume=@/file:/x:ro", "--read-only", &device];
    let command: &[&str] = &[IMAGE, "sh", "-c", look];
    // The engine looks for the host's device by the container's path, as runc does.
    let missing = [&maps[..], &["--device=/dev/zero:/dev/no-such/node"]].concat();
    same(&[
        (&maps, &[IMAGE, "id"]),
        (&[&maps[..], &more].concat(), command),
        (&missing, &[IMAGE, "id"]),
    ]);
}

#[test]
fn vm_where_a_process_finds_things() {
    looks(&[
        &["--read-only", "--volume=@/file:/etc/file:ro", "--security-opt=mask=/link:/etc/passwd"],
        // runc makes the masks when /dev is read-only already, and they are then too.
        &["--read-only", "--read-only-tmpfs=false", "--security-opt=unmask=ALL"],
        &["--tmpfs=/x", "--tmpfs=/etc", "--tmpfs=/x2:ro,size=1m,mode=1700,noexec,nodev,nosuid"],
        &[
            "--tmpfs=/etc:notmpcopyup",
            "--tmpfs=/x:exec,suid,dev,uid=5",
            "--mount=type=ramfs,dst=/r",
            "--security-opt=proc-opts=hidepid=2,nosuid,nodev,noexec",
        ],
        &[
            "--mount=type=bind,src=@/sub,dst=/x,ro,bind-propagation=rslave",
            "--mount=type=volume,dst=/v1,ro=true",
            "--mount=type=image,src=localhost/look,dst=/v2",
            "--mount=type=devpts,dst=/v3,uid=5,gid=7,mode=0600,max=10",
            "--mount=type=glob,src=@/*,dst=/v4/",
            "--mount=type=tmpfs,dst=/v5,tmpfs-size=1m,tmpfs-mode=1777",
        ],
        &[
            "--volume=@/sub:/x:U,z",
            "--volume=@/sub:/x2:O",
            "--volume=/etc",
            "--volume=@/sub:/x3:rshared,noexec,nosuid,nodev",
            "--user=user",
        ],
        &["--volume=@/file:/bin", "--read-only"],
    ]);
}
