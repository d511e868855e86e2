//! Docker's commands on a container, read-only and writable. Generic: passes with `RUNTIME=runc`, too; what only ours does
//! is asked of ours only.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200 --takes 200 --shim long

use sharedroot_tests::command::{Output, run};
use sharedroot_tests::docker::{Container, docker, docker_run, runs_sharedroot, runtime};
use sharedroot_tests::kernel_view::{cgroup_file, confinement, confinement_of, root_of};
use sharedroot_tests::lab::{TempDir, wait_for};

/// The two kinds of root.
const KINDS: [&[&str]; 2] = [&["--read-only"], &[]];
/// Nothing forks while the signal comes: User-Mode Linux panics where a fork is cut short by a signal.
const UNTIL_TERM: &str = "trap 'echo ended; exit 7' TERM; sleep 1000 & echo begun; wait";

/// A container of busybox that ends with 7 on TERM.
#[track_caller]
fn started(flags: &[&str]) -> Container {
    Container::generic(&[flags, &["busybox", "sh", "-c", UNTIL_TERM]].concat())
}

/// Ours runs on device-mapper, the others on what Docker prepared.
#[track_caller]
fn is_on_its_root(container: &Container) -> bool {
    root_of(container.pid()).is_on_dm() == runs_sharedroot()
}

/// `docker run --rm` of busybox.
#[track_caller]
fn busybox(kind: &[&str], flags: &[&str], command: &[&str]) -> Output {
    docker_run(&runtime(), &[kind, flags, &["busybox"], command].concat())
}

#[test]
fn vm_exec_is_confined_like_init() {
    let flags: [&[&str]; 4] = [
        &[],
        &["--user=1000:1000", "--group-add=44"],
        &["--cap-drop=ALL", "--cap-add=NET_RAW", "--security-opt=no-new-privileges"],
        &["--security-opt=seccomp=unconfined"],
    ];
    for (kind, flags) in KINDS.iter().flat_map(|kind| flags.map(|flags| (*kind, flags))) {
        let container = started(&[kind, flags].concat());
        let exec = confinement(&container.exec(&["cat", "/proc/self/status"]));
        let init = confinement_of(container.pid());
        assert_eq!(exec, init, "{kind:?} {flags:?}");
        let filter = if flags.contains(&"--security-opt=seccomp=unconfined") { "0" } else { "2" };
        assert!(init.contains(&format!("Seccomp:\t{filter}")), "{init:?}");
    }
}

#[test]
fn vm_confinement_is_runcs() {
    for flags in [
        &[][..],
        &["--user=1000:1000"],
        &["--cap-add=SYS_ADMIN", "--cap-drop=CHOWN"],
        &["--privileged"],
    ] {
        let words = [&["--read-only"], flags, &["busybox", "cat", "/proc/self/status"]].concat();
        let [ours, runc] =
            [&*runtime(), "runc"].map(|runtime| confinement(&docker_run(runtime, &words).ok()));
        assert_eq!(ours, runc, "{flags:?}");
    }
}

#[test]
fn vm_exec_with_flags() {
    let container = started(&["--read-only"]);
    let exec = |flags: &[&str], command: &[&str]| {
        run(&[&["docker", "exec"], flags, &[&container.id], command].concat())
    };
    assert_eq!(exec(&["--user=1000:1000"], &["id", "-u"]).ok(), "1000");
    assert_eq!(exec(&["--env=COLOUR=blue"], &["sh", "-c", "echo $COLOUR"]).ok(), "blue");
    assert_eq!(exec(&["--workdir=/etc"], &["pwd"]).ok(), "/etc");
    exec(&[], &["sh", "-c", "exit 9"]).fails(9);
    let of_runc = Container::run_with("runc", &["busybox", "sleep", "1000"]);
    for command in ["/no/such/program", "no-such-program", "/etc/passwd"] {
        let [ours, runc] = [&container, &of_runc].map(|c| c.call("exec", &[command]));
        assert_eq!(ours.status, runc.status, "{ours}\n{runc}");
    }
    exec(&["--detach"], &["sleep", "3000"]).ok();
    wait_for("the detached process is in docker top", || {
        container.call("top", &[]).ok().contains("sleep 3000").then_some(())
    });
}

#[test]
fn vm_stop_and_start_again() {
    for kind in KINDS {
        let container = started(kind);
        wait_for("the trap is set", || {
            container.call("logs", &[]).stdout.contains("begun").then_some(())
        });
        container.call("stop", &[]).ok();
        assert_eq!(container.inspect(".State.ExitCode"), "7", "{kind:?}");
        assert_eq!(container.call("logs", &[]).ok(), "begun\nended");
        container.call("start", &[]).ok();
        assert_eq!(container.exec(&["echo", "again"]), "again");
        assert!(is_on_its_root(&container), "{kind:?}: the second start has the same kind of root");
        let pid = container.pid();
        container.with_flags("restart", &["--time=5"]).ok();
        assert_ne!(container.pid(), pid);
        assert!(is_on_its_root(&container), "{kind:?}: and the third");
        container.call("kill", &[]).ok();
        container.becomes("exited");
        assert_eq!(container.inspect(".State.ExitCode"), "137");
        container.call("start", &[]).ok();
        assert!(is_on_its_root(&container), "{kind:?}: and one after a kill");
        assert_eq!(container.exec(&["echo", "again"]), "again");
    }
}

#[test]
fn vm_kill_with_a_signal() {
    let container = started(&["--read-only"]);
    wait_for("the trap is set", || {
        container.call("logs", &[]).stdout.contains("begun").then_some(())
    });
    container.with_flags("kill", &["--signal=TERM"]).ok();
    container.becomes("exited");
    assert_eq!(container.inspect(".State.ExitCode"), "7");
}

#[test]
fn vm_pause_and_unpause() {
    for kind in KINDS {
        let container = started(kind);
        container.call("pause", &[]).ok();
        assert_eq!(container.inspect(".State.Status"), "paused");
        assert!(cgroup_file(container.pid(), "cgroup.events").contains("frozen 1"));
        container.call("unpause", &[]).ok();
        assert_eq!(container.exec(&["echo", "thawed"]), "thawed");
    }
}

#[test]
fn vm_update_top_stats_and_logs() {
    let container = started(&["--read-only", "--pids-limit=50"]);
    assert_eq!(cgroup_file(container.pid(), "pids.max"), "50");
    container.with_flags("update", &["--pids-limit=77"]).ok();
    assert_eq!(cgroup_file(container.pid(), "pids.max"), "77");
    container.with_flags("update", &["--memory=64m", "--memory-swap=64m"]).ok();
    assert_eq!(cgroup_file(container.pid(), "memory.max"), "67108864");
    let top = container.call("top", &[]).ok();
    assert!(top.contains("sh -c trap"), "{top}");
    wait_for("figures, which docker waits two seconds for", || {
        let stats = container.with_flags("stats", &["--no-stream", "--format={{.PIDs}}"]).ok();
        stats.trim().parse::<u32>().is_ok_and(|pids| pids > 0).then_some(())
    });
    wait_for("the log", || container.call("logs", &[]).stdout.contains("begun").then_some(()));
}

#[test]
fn vm_a_terminal() {
    for kind in KINDS {
        // script(1) gives docker a terminal to pass on.
        let flags = kind.join(" ");
        let line = format!(
            "docker run --rm -it --network=none --runtime={} {flags} busybox \
             sh -c 'tty; test -t 0 && test -t 1 && test -t 2 && echo all; exit 6'",
            runtime()
        );
        let output = run(&["script", "--quiet", "--return", "--command", &line, "/dev/null"]);
        let said = output.fails(6);
        assert!(said.contains("/dev/pts/0") && said.contains("all"), "{said:?}");

        let container = started(kind);
        let line = format!("docker exec -it {} sh -c 'tty; exit 8'", container.id);
        let said =
            run(&["script", "--quiet", "--return", "--command", &line, "/dev/null"]).fails(8);
        assert!(said.contains("/dev/pts/"), "{said:?}");
    }
}

#[test]
fn vm_standard_input_and_output() {
    for kind in KINDS {
        let words = [
            &["run", "--rm", "-i", "--network=none", &format!("--runtime={}", runtime())],
            kind,
            &["busybox", "sh", "-c", "cat; echo away >&2"],
        ];
        let cmd = sharedroot_tests::command::Cmd::new("docker")
            .args(&words.concat())
            .stdin("a line\n")
            .run();
        assert_eq!((cmd.status, &*cmd.stdout, &*cmd.stderr), (0, "a line\n", "away\n"), "{kind:?}");
    }
}

#[test]
fn vm_flags_of_run() {
    let host = TempDir::new("volume");
    std::fs::write(host.0.join("file"), "of the host").unwrap();
    let volume = format!("--volume={}:/tmp/volume:z", host.str());
    for kind in KINDS {
        // Flags that have nothing to do with each other, in one line: each `docker run` takes its time.
        let flags = [
            "--user=1000:1000",
            "--hostname=some-name",
            "--workdir=/etc",
            "--env=A=b c",
            "--ulimit=nofile=123:456",
            "--sysctl=kernel.msgmax=9999",
        ];
        let look = "id -u; hostname; pwd; echo $A; ulimit -n; cat /proc/sys/kernel/msgmax";
        let said = busybox(kind, &flags, &["sh", "-c", look]).ok();
        assert_eq!(said, "1000\nsome-name\n/etc\nb c\n123\n9999", "{kind:?}");
        let look = "cat /proc/1/comm; echo x > /tmp/x && grep -c ' /tmp tmpfs ' /proc/mounts";
        let said = busybox(kind, &["--init", "--tmpfs=/tmp"], &["sh", "-c", look]).ok();
        let (first, tmpfs) = said.split_once('\n').expect("two lines");
        assert!(first.contains("init") && tmpfs == "1", "{kind:?}: {said}");
        let command = ["sh", "-c", "cat /tmp/volume/file && echo new > /tmp/volume/new"];
        assert_eq!(busybox(kind, &[&volume], &command).ok(), "of the host", "{kind:?}");
        assert_eq!(std::fs::read_to_string(host.0.join("new")).unwrap(), "new\n");
        std::fs::remove_file(host.0.join("new")).unwrap();
        assert_eq!(
            busybox(kind, &["--pid=host"], &["sh", "-c", "test $$ -gt 1 && echo host"]).ok(),
            "host"
        );
        assert_eq!(
            busybox(kind, &["--workdir=/made/by/docker"], &["pwd"]).ok(),
            "/made/by/docker",
            "{kind:?}"
        );
    }
}

#[test]
fn vm_masked_and_read_only_paths() {
    for runtime in [&*runtime(), "runc"] {
        let command = "cat /proc/keys | wc -c; ls /sys/firmware | wc -l; echo 1 2>&1 > /proc/sys/kernel/panic || echo refused";
        let output = docker_run(runtime, &["--read-only", "busybox", "sh", "-c", command]).ok();
        assert!(output.starts_with("0\n0\n") && output.ends_with("refused"), "{runtime}: {output}");
    }
}

#[test]
fn vm_a_command_that_cannot_run() {
    // (flags, command, Docker's exit code, the reason in the message)
    let cases: [(&[&str], &str, i32, &str); 4] = [
        (&[], "/no/such/program", 127, "no such file or directory"),
        (&[], "no-such-program", 127, "executable file not found in $PATH"),
        (&[], "/etc/passwd", 126, "permission denied"),
        (&[], "/etc", 126, "directory"),
    ];
    for (kind, (flags, command, code, reason)) in KINDS.iter().flat_map(|k| cases.map(|c| (*k, c)))
    {
        let words = [kind, flags, &["busybox", command]].concat();
        for runtime in ["runc", &*runtime()] {
            let said = docker_run(runtime, &words).fails(code).to_lowercase();
            assert!(
                said.contains(command),
                "{runtime} {kind:?}: the message names {command}: {said}"
            );
            // EACCES on a directory is "permission denied" with some versions of runc.
            let told = said.contains(&reason.to_lowercase())
                || (command == "/etc" && said.contains("permission denied"));
            assert!(told, "{runtime} {kind:?}: the message says {reason:?}: {said}");
        }
    }
}

#[test]
fn vm_a_container_that_could_not_start_can_be_removed() {
    let words = [
        "create",
        "--network=none",
        &format!("--runtime={}", runtime()),
        "--read-only",
        "busybox",
        "/no/such/program",
    ];
    let id = docker(&words).ok();
    docker(&["start", &id]).fails(1);
    docker(&["start", &id]).fails(1);
    docker(&["rm", &id]).ok();
}

#[test]
fn vm_many_at_once() {
    let containers: Vec<_> = std::thread::scope(|scope| {
        let start = |n: usize| move || started(KINDS[n % 2]);
        let threads: Vec<_> = (0..12).map(|n| scope.spawn(start(n))).collect();
        threads.into_iter().map(|thread| thread.join().expect("docker run")).collect()
    });
    for container in &containers {
        assert_eq!(container.exec(&["echo", "alive"]), "alive");
        assert!(is_on_its_root(container));
    }
    std::thread::scope(|scope| {
        for container in containers {
            scope.spawn(move || drop(container));
        }
    });
}
