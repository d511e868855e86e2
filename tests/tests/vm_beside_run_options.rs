//! Options of `docker run` that limit a container, join it to another, watch it or end it, with runc and with ours: exit code,
//! output, the reason of a refusal, and what the kernel has of it.
//!
//! Only `hack/test --long` runs this hunt through a manual's options: no document's claim rests on it.
//!
//! Guest: --long --limit 900 --takes 90 --shim long

use std::fs;

use sharedroot_tests::beside::{Rows, rows_beside_runc, told};
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::docker::{Container, docker_run};
use sharedroot_tests::lab::{TempDir, only_in_lab, wait_for};

/// What the cgroup has. `cpu.weight` is another one with each version of runc (docs/gaps.md).
const LIMITS: &str = r#"cat /proc/self/cgroup; cd /sys/fs/cgroup
    for file in io.max io.weight io.bfq.weight cpuset.cpus cpuset.mems cpu.max cpu.max.burst cpu.idle pids.max memory.max \
        memory.high memory.low memory.min memory.swap.max memory.oom.group
    do printf '%s: ' $file; cat $file 2>&1; echo; done
    ls -l /dev/zero /dev/full /dev/kmsg 2>&1 | cut -c1-10
    for number in '1 5' '1 7' '1 11' '10 200'; do rm -f /node; mknod /node c $number; : 2>&1 < /node && echo opens $number; done"#;

/// A block device of the guest.
const DISK: &str = "/dev/ubda";

#[test]
fn vm_limits_of_devices_processors_and_memory() {
    only_in_lab();
    let each = |flag: &str, value: &str| format!("--{flag}={DISK}:{value}");
    let io = [
        each("device-read-bps", "1mb"),
        each("device-write-bps", "2mb"),
        each("device-read-iops", "300"),
        each("device-write-iops", "400"),
    ];
    let io: Vec<_> = io.iter().map(String::as_str).collect();
    // No weights: this kernel has none, and Docker takes runc's words of that for a missing program (127; ours ends with 125).
    let lines: [&[&str]; 12] = [
        &io,
        &["--blkio-weight=9"],
        &["--cpuset-cpus=0", "--cpuset-mems=0", "--cpu-period=50000", "--cpu-quota=25000"],
        &["--cpuset-mems=7"],
        &["--cpu-period=999"],
        &["--cpu-rt-period=100000", "--cpu-rt-runtime=1000"],
        &["--memory=64m", "--memory-reservation=32m", "--memory-swap=64m", "--pids-limit=-1"],
        &["--memory=64m", "--memory-swap=-1", "--memory-swappiness=10", "--oom-kill-disable"],
        &["--device-cgroup-rule=c 1:11 r", "--cgroup-parent=/of-the-test/deep"],
        &["--device-cgroup-rule=c 10:* rmw", "--device-cgroup-rule=a 7:* r"],
        &["--device-cgroup-rule=x 1:11 r"],
        &["--device=/dev/nosuch"],
    ];
    rows_beside_runc(|runtime| {
        let row = |flags: &&[&str]| {
            let flags = [*flags, &["busybox", "sh", "-c", LIMITS]].concat();
            let seen = docker_run(runtime, &flags);
            (flags[..flags.len() - 4].join(" "), told(&seen))
        };
        lines.iter().map(row).collect()
    });
}

/// What two containers share that are joined, or a container and the host.
const JOINED: &str = r#"for kind in cgroup ipc mnt net pid pid_for_children time user uts
    do [ "$(readlink /proc/self/ns/$kind)" = "$(cat /of/$kind)" ] && echo the same $kind; done
    hostname | grep -c . ; ls -d /proc/1; ls -A /dev/shm /given"#;

#[test]
fn vm_containers_that_are_joined() {
    only_in_lab();
    rows_beside_runc(|runtime| {
        let dir = TempDir::new("joined");
        fs::create_dir(dir.0.join("given")).unwrap();
        fs::write(dir.0.join("given/file"), "").unwrap();
        let of = format!("--volume={}:/of", dir.str());
        let given = format!("--volume={}/given:/given", dir.str());
        let all = "for kind in cgroup ipc mnt net pid pid_for_children time user uts; do \
                   readlink /proc/self/ns/$kind > /of/$kind; done; : > /dev/shm/of-the-first; sleep 1000";
        let words = ["--ipc=shareable", &of, &given, "busybox", "sh", "-c", all];
        let first = Container::run_with(runtime, &words);
        wait_for("its namespaces", || dir.0.join("uts").exists().then_some(()));
        let with = |flag: &str| format!("--{flag}=container:{}", first.id);
        let (pid, ipc, net) = (with("pid"), with("ipc"), with("network"));
        let from = format!("--volumes-from={}", first.id);
        let mut rows = Rows::new();
        for (what, flags) in [
            ("alone", &[&*of][..]),
            ("pid and ipc", &[&pid, &ipc, &of]),
            ("volumes, read-only", &[&format!("{from}:ro"), "--read-only"]),
            ("the host's", &["--pid=host", "--ipc=host", "--uts=host", "--userns=host", &of]),
        ] {
            let words = [flags, &["busybox", "sh", "-c", JOINED]].concat();
            rows.push((what.to_owned(), told(&docker_run(runtime, &words))));
        }
        let words = [&net, &of, "busybox", "sh", "-c", JOINED];
        rows.push(("network".to_owned(), told(&docker_run(runtime, &words))));
        rows
    });
}

#[test]
fn vm_how_a_container_is_watched_and_ended() {
    only_in_lab();
    let trap = "trap 'echo ended; exit 9' USR1; trap 'echo term; exit 8' TERM; touch /ready; sleep 1000 & wait";
    rows_beside_runc(|runtime| {
        let mut rows = Rows::new();
        for flags in
            [&["--stop-signal=USR1", "--init"][..], &["--stop-signal=40", "--stop-timeout=1"], &[]]
        {
            let container =
                Container::run_with(runtime, &[flags, &["busybox", "sh", "-c", trap]].concat());
            wait_for("its traps", || {
                (container.call("exec", &["ls", "/ready"]).status == 0).then_some(())
            });
            container.call("stop", &[]).ok();
            let ended = container.inspect(".State.ExitCode");
            rows.push((
                flags.join(" "),
                format!("{ended}\n{}", told(&container.call("logs", &[]))),
            ));
        }
        let look = "id -u; pwd; env | grep -v HOSTNAME; grep -E '^(Cap|Seccomp)' /proc/self/status; cat /proc/self/cgroup";
        for (what, command, timeout, status) in [
            ("healthy", look, "60s", "healthy"),
            ("ill", "echo ill; exit 3", "60s", "unhealthy"),
            ("late", "sleep 9", "2s", "unhealthy"),
        ] {
            let command = format!("--health-cmd={command}");
            let timeout = format!("--health-timeout={timeout}");
            let flags = [
                &command,
                "--health-interval=1s",
                "--health-retries=1",
                &timeout,
                "--user=1000",
                "--workdir=/tmp",
                "--env=A=b",
            ];
            let container =
                Container::run_with(runtime, &[&flags[..], &["busybox", "sleep", "1000"]].concat());
            wait_for(what, || (container.inspect(".State.Health.Status") == status).then_some(()));
            let log = container.inspect(".State.Health.Log.0.ExitCode")
                + &container.inspect(".State.Health.Log.0.Output");
            rows.push((what.to_owned(), log));
        }
        rows.push(("restarts".to_owned(), restarted(runtime)));
        rows.push(("left by keys".to_owned(), left_by_keys(runtime)));
        rows
    });
}

/// A container that Docker starts again, twice.
fn restarted(runtime: &str) -> String {
    let flags = ["--restart=on-failure:2", "busybox", "sh", "-c", "echo once; exit 4"];
    let again = Container::run_with(runtime, &flags);
    again.becomes("exited");
    let seen = again.inspect(".RestartCount") + &again.inspect(".State.ExitCode");
    format!("{seen}\n{}", told(&again.call("logs", &[])))
}

/// A user leaves the terminal of a container, which goes on.
fn left_by_keys(runtime: &str) -> String {
    let (dir, name) = (TempDir::new("keys"), unique_name("keys"));
    let line = format!(
        "docker run -it --detach-keys=a,b --network=none --name={name} --runtime={runtime} busybox \
         sh -c 'echo begun; stty size; sleep 1000'"
    );
    let keys = "until grep -q begun typed; do sleep 0.1; done; printf ab; sleep 3";
    let script = format!(
        "cd {}; : > typed; ({keys}) | script --quiet --flush --return --command \"{line}\" typed > /dev/null; echo $?",
        dir.str()
    );
    let status = out(&["bash", "-c", &script]);
    let running = out(&["docker", "inspect", "--format", "{{.State.Status}}", &name]);
    let said = out(&["docker", "logs", &name]);
    out(&["docker", "rm", "--force", &name]);
    format!("{status} {running} {said}")
}
