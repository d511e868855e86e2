//! `podman run` with the options of its manual that reach a runtime, with runc and with ours: exit code, output, the reason of a
//! refusal, and what a container sees of itself.
//!
//! Guest: --no-docker --limit 900 --takes 100

use std::fs;

use sharedroot_tests::beside::{LOOK, Rows, make_rootfs_for_look, rows_beside_runc, told};
use sharedroot_tests::command::{Cmd, out};
use sharedroot_tests::lab::{TempDir, only_in_lab};

const IMAGE: &str = "localhost/look";

fn podman(runtime: &str) -> Cmd {
    let runtime = out(&["which", runtime]);
    Cmd::new("podman")
        .args(&["--runtime", &runtime, "--cgroup-manager=cgroupfs"])
        .arg("--events-backend=file")
}

/// The image of the tests. Dropping it removes the image.
struct Image;

impl Image {
    fn new() -> Self {
        only_in_lab();
        let dir = TempDir::new("image");
        make_rootfs_for_look(&dir.0.join("rootfs"));
        let (rootfs, tar) = (format!("{}/rootfs", dir.str()), format!("{}/tar", dir.str()));
        out(&["tar", "--create", "--file", &tar, "--directory", &rootfs, "."]);
        podman("runc").args(&["import", "--quiet", &tar, IMAGE]).run().ok();
        Self
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        podman("runc").args(&["rmi", "--force", IMAGE]).run();
    }
}

/// `podman run FLAGS… IMAGE COMMAND…` for each line. `@` stands for a directory of the host.
#[track_caller]
fn same(lines: &[(&[&str], &[&str])]) {
    let _image = Image::new();
    rows_beside_runc(|runtime| {
        let mut rows = Rows::new();
        for (flags, command) in lines {
            let dir = TempDir::new("podman");
            fs::create_dir(dir.0.join("sub")).unwrap();
            fs::write(dir.0.join("file"), "A=1\n").unwrap();
            let flags: Vec<_> = flags.iter().map(|flag| flag.replace('@', dir.str())).collect();
            let line = podman(runtime).args(&["run", "--rm"]);
            let line = flags.iter().fold(line, |line, flag| line.arg(flag));
            let output = line.args(command).stdin("of stdin\n").run();
            let name = dir.0.file_name().and_then(|name| name.to_str()).unwrap();
            let plain = |text: &str| text.replace(dir.str(), "@").replace(name, "@");
            let what = plain(&format!("{:?} {:.40}", flags, command.join(" ").trim()));
            if output.status != 0 {
                println!("{runtime} {what}: {output}");
            }
            rows.push((what, plain(&told(&output))));
        }
        rows
    });
}

#[track_caller]
fn looks(lines: &[&[&str]]) {
    let base = ["--network=none", "--hostname=same"];
    let lines: Vec<Vec<&str>> = lines.iter().map(|flags| [&base, *flags].concat()).collect();
    let lines: Vec<(&[&str], &[&str])> =
        lines.iter().map(|flags| (&flags[..], &[IMAGE, "sh", "-c", LOOK][..])).collect();
    same(&lines);
}

#[test]
fn vm_what_a_process_is() {
    looks(&[
        &["--systemd=always", "--env=container_uuid=1", "--user=user", "--umask=0077"],
        &["--user=user:tty", "--group-add=29", "--passwd=false", "--no-hosts", "--cap-add=all"],
        &["--privileged", "--env-host", "--unsetenv=HOME", "--env-file=@/file", "--tz=local"],
        &[
            "--cap-drop=all",
            "--cap-add=chown",
            "--security-opt=no-new-privileges",
            "--security-opt=seccomp=unconfined",
            "--security-opt=label=disable",
            "--ulimit=nofile=100:200",
            "--ulimit=core=0",
            "--ulimit=nproc=300",
            "--oom-score-adj=5",
            "--personality=LINUX32",
            "--workdir=/tmp",
            "--tty",
            "--passwd-entry=new:*:9:9::/:/bin/sh",
            "--user=9",
        ],
    ]);
}

#[test]
fn vm_where_a_process_is() {
    looks(&[
        &["--cgroups=disabled", "--ipc=none", "--userns=keep-id"],
        &["--cgroupns=host", "--pid=host", "--uts=host", "--ipc=host", "--network=host"],
        &["--pid=ns:/proc/1/ns/pid", "--ipc=ns:/proc/1/ns/ipc", "--cgroupns=ns:/proc/1/ns/cgroup"],
        &[
            "--cgroup-parent=/of-podman",
            "--memory=64m",
            "--memory-swap=100m",
            "--memory-reservation=32m",
            "--cpus=0.5",
            "--cpuset-cpus=0",
            "--pids-limit=40",
            "--cgroup-conf=memory.high=33554432",
            "--ipc=shareable",
            "--shm-size=1m",
            "--sysctl=kernel.shmmax=1234567",
            "--sysctl=net.ipv4.ip_forward=1",
        ],
    ]);
}

/// Limits above podman's own, and podman's files in a directory of root's.
#[test]
fn vm_a_user_namespace_of_its_own() {
    let look = "id; cat /proc/self/uid_map; ulimit -n; ulimit -Hn; ulimit -u; grep -c . /etc/hosts; \
                cat /x; ls -lnd / /dev/shm /x | cut -c1-40; touch /dev/shm/new /x";
    let maps = ["--network=none", "--uidmap=0:100000:2000", "--gidmap=0:100000:2000"];
    let more = ["--ulimit=nofile=20:99999", "--volume=@/file:/x:ro", "--read-only"];
    let command: &[&str] = &[IMAGE, "sh", "-c", look];
    same(&[(&maps, &[IMAGE, "id"]), (&[&maps[..], &more].concat(), command)]);
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

#[test]
fn vm_how_a_container_ends() {
    let none = "--network=none";
    same(&[
        (&[none], &[IMAGE, "/no/such"]),
        (&[none], &[IMAGE, "nosuch"]),
        (&[none], &[IMAGE, "/file"]),
        (&[none], &[IMAGE, "sh", "-c", "kill -9 $$"]),
        (&[none, "--entrypoint=[\"sh\",\"-c\"]", "--interactive"], &[IMAGE, "cat; exit 4"]),
        (&[none, "--sysctl=net.no.such=1"], &[IMAGE, "true"]),
        (&[none, "--ulimit=nofile=9999999999"], &[IMAGE, "true"]),
        (&[none, "--timeout=2"], &[IMAGE, "sleep", "1000"]),
        (&[none, "--cgroup-conf=no.such=1"], &[IMAGE, "true"]),
        (&[none, "--cpuset-cpus=7"], &[IMAGE, "true"]),
    ]);
}
