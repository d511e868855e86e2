//! `docker run` with the options of its manual that reach a runtime, with runc and with ours on both kinds of root: exit code,
//! output, and what a container sees of itself.
//!
//! Guest: --limit 1500 --shim long

use std::fs;

use sharedroot_tests::beside::{LOOK, beside_runc};
use sharedroot_tests::docker::{KINDS, docker_run};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::shim;

/// One line with both runtimes, on each of these kinds of root; returns how it ended. `@` stands for a directory of the host.
#[track_caller]
fn same_on(kinds: &[&[&str]], flags: &[&str], command: &[&str]) -> Vec<i32> {
    let dir = TempDir::new("options");
    let sub = dir.0.join("sub");
    fs::write(dir.0.join("file"), "A=1\n").unwrap();
    let flags: Vec<_> = flags.iter().map(|flag| flag.replace('@', dir.str())).collect();
    let each = kinds.iter().map(|kind| {
        let what = format!("{kind:?} {flags:?} {:.60}", command.join(" ").trim());
        let (status, _) = beside_runc(&what, |runtime| {
            // What the other runtime made in it is nothing to find.
            let _ = fs::remove_dir_all(&sub);
            fs::create_dir(&sub).unwrap();
            let flags: Vec<_> = flags.iter().map(String::as_str).collect();
            let output = docker_run(runtime, &[*kind, &flags[..], command].concat());
            if output.status != 0 {
                println!("{runtime}: {}", output.stderr);
            }
            (output.status, output.stdout)
        });
        println!("{what}: {status}");
        status
    });
    each.collect()
}

#[track_caller]
fn same(flags: &[&str], command: &[&str]) {
    same_on(&KINDS, flags, command);
}

/// Where it does not depend on the root.
#[track_caller]
fn same_anywhere(flags: &[&str], command: &[&str]) {
    same_on(&KINDS[..1], flags, command);
}

#[track_caller]
fn looks(flags: &[&str]) {
    let flags = [&["--hostname=same"], flags].concat();
    let ended = same_on(&KINDS, &flags, &["busybox", "sh", "-c", LOOK]);
    assert_eq!(ended, [0, 0], "{flags:?}");
}

#[test]
fn vm_what_a_process_is() {
    looks(&[]);
    looks(&[
        "--user=1000:5",
        "--group-add=29",
        "--workdir=/x/y",
        "--init",
        "--cap-drop=ALL",
        "--cap-add=NET_BIND_SERVICE",
        "--security-opt=no-new-privileges",
        "--oom-score-adj=500",
        "--ulimit=nofile=100:200",
        "--ulimit=nproc=77",
        "--ulimit=stack=1000000:2000000",
        "--ulimit=rtprio=3",
        "--ulimit=core=0",
        "--sysctl=kernel.shmmax=1234567",
        "--sysctl=fs.mqueue.msg_max=20",
        "--sysctl=net.ipv4.ip_forward=1",
        "--shm-size=1m",
        "--domainname=domain",
        "--env-file=@/file",
        "--env=B= x y",
    ]);
    looks(&["--privileged", "--ipc=shareable", "--pids-limit=20", "--cpus=0.5", "--memory=64m"]);
    looks(&["--tty", "--user=65534", "--cap-add=ALL", "--security-opt=seccomp=unconfined"]);
    looks(&[
        "--security-opt=systempaths=unconfined",
        "--cgroupns=host",
        "--ipc=host",
        "--pid=host",
    ]);
}

#[test]
fn vm_where_a_process_finds_things() {
    looks(&[
        "--tmpfs=/x:size=1m,mode=1777,uid=5,gid=7,exec,suid,dev",
        "--tmpfs=/t1:ro,noexec,nosuid,nodev,noatime",
        "--tmpfs=/t2:nr_inodes=10,relatime,rw,strictatime,nodiratime",
        "--tmpfs=/dev/x",
        "--mount=type=tmpfs,dst=/t3,tmpfs-size=1m,tmpfs-mode=1700",
        "--mount=type=tmpfs,dst=/t4,readonly",
    ]);
    let mut binds = vec![
        "--mount=type=bind,src=@/sub,dst=/x,readonly",
        "--mount=type=bind,src=@/sub,dst=/b1,bind-recursive=disabled",
        "--mount=type=bind,src=@/sub,dst=/b2,bind-recursive=writable,readonly",
        "--volume=@/file:/dev/file",
        "--volume=@/sub:/dev/sub",
        "--volume=/sys/fs/cgroup:/b4:ro",
    ];
    // Docker asks a shim for no features (docs/containerd-shim.md).
    if !shim::is_meant() {
        binds.push("--mount=type=bind,src=@/sub,dst=/b3,bind-recursive=readonly,readonly,bind-propagation=rprivate");
    }
    looks(&binds);
    looks(&["--mount=type=volume,dst=/x,volume-nocopy", "--volume=/b1", "--volume=@/sub:/b2:ro,z"]);
    looks(&["--device=/dev/zero:/dev/dir/deep/node", "--device=/dev/full:/dev/other:r"]);
    looks(&["--volume=@/sub:/x", "--device=/dev/zero:/dev/sub/node", "--volume=@/sub:/dev/sub"]);
}

#[test]
fn vm_where_a_process_starts() {
    let here = &["busybox", "sh", "-c", "pwd; pwd -P; ls -ldn . | cut -c1-10"];
    same(&["--workdir=/x/y/z"], here);
    same(&["--workdir=/x/new", "--tmpfs=/x"], here);
    same(&["--workdir=/x/new/deep", "--tmpfs=/x:ro,size=1m", "--user=1000"], here);
    same(&["--workdir=/x/sub/new", "--tmpfs=/x", "--volume=@/sub:/x/sub"], here);
    same(&["--workdir=/x/sub/new", "--tmpfs=/x", "--tmpfs=/x/sub:mode=700", "--user=1000"], here);
    same(&["--workdir=/x/new", "--volume=@/sub:/x"], here);
    same(&["--workdir=/etc/passwd"], here);
    same(&["--workdir=/etc/passwd/x"], here);
    same(&["--workdir=/x", "--volume=@/file:/x"], here);
}

/// An empty or relative PATH names no program: who can write where the process starts would choose it.
#[test]
fn vm_which_program_is_executed() {
    let program = &["busybox", "ls", "-d", "/"];
    same_anywhere(&["--workdir=/bin", "--env=PATH="], program);
    same_anywhere(&["--workdir=/", "--env=PATH=bin"], program);
    same_anywhere(&["--workdir=/bin", "--env=PATH=.:/bin"], program);
    same_anywhere(&["--workdir=/bin", "--env=PATH=/nowhere:"], program);
    same_anywhere(&["--workdir=/", "--env=PATH=/nowhere:/bin"], program);
    same_anywhere(&["--workdir=/bin"], &["busybox", "./ls", "-d", "/"]);
    same_anywhere(&[], &["busybox", ""]);
    same_anywhere(&["--entrypoint=/etc"], &["busybox"]);
    same_anywhere(&["--entrypoint=/etc/passwd"], &["busybox"]);
    same_anywhere(&["--user=nosuch"], program);
    same_anywhere(&["--env=HOME=", "--user=1000"], &["busybox", "sh", "-c", "echo $HOME"]);
}

#[test]
fn vm_how_a_container_ends() {
    same_anywhere(&[], &["busybox", "sh", "-c", "kill -9 $$; exit 3"]);
    same_anywhere(&["--init"], &["busybox", "sh", "-c", "kill -SEGV $$"]);
    // Not beside runc: whether it can start one more thread of its own there is a matter of time.
    docker_run("sharedroot", &["--pids-limit=1", "--user=1000", "busybox", "true"]).ok();
    same_anywhere(&["--sysctl=net.no.such=1"], &["busybox", "true"]);
    same_anywhere(&["--sysctl=kernel.msgmax=abc"], &["busybox", "true"]);
    same_anywhere(&["--tmpfs=/x:nosuch"], &["busybox", "true"]);
    same_anywhere(&["--tmpfs=/proc/x"], &["busybox", "true"]);
    same_anywhere(&["--volume=@/sub:/proc/x"], &["busybox", "true"]);
    same_anywhere(&["--volume=/proc:/proc"], &["busybox", "true"]);
    same_anywhere(&["--cpuset-cpus=7"], &["busybox", "true"]);
    same_anywhere(&["--cpu-quota=999"], &["busybox", "true"]);
}
