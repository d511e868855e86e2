//! How a user talks to a container of Docker's, and how its life ends and begins again. Generic: passes with
//! `RUNTIME=runc`, too.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200 --takes 90 --shim long --unstable shim

use sharedroot_tests::command::{Cmd, Output, run, unique_name};
use sharedroot_tests::docker::{Container, FreshImage, KINDS, docker, runtime};
use sharedroot_tests::lab::{TempDir, wait_for};

/// Nothing forks while a signal comes: User-Mode Linux panics where a fork is cut short by a signal.
const SLEEP: &str = "sleep 1000 & echo begun; wait";

/// A container of busybox whose shell has set its traps.
#[track_caller]
fn begun(flags: &[&str], trap: &str) -> Container {
    let script = format!("{trap}; {SLEEP}");
    let container = Container::generic(&[flags, &["busybox", "sh", "-c", &script]].concat());
    wait_for("the traps are set", || {
        container.call("logs", &[]).stdout.contains("begun").then_some(())
    });
    container
}

/// A command line on a terminal of the given size.
#[track_caller]
fn on_terminal(line: &str) -> Output {
    let line = format!("stty rows 33 cols 99; {line}");
    run(&["script", "--quiet", "--return", "--command", &line, "/dev/null"])
}

#[test]
fn vm_attach_is_the_containers_input_and_output() {
    for kind in KINDS {
        let script = "read line; echo got $line; echo away >&2; exit 5";
        let container =
            Container::generic(&[kind, &["--interactive", "busybox", "sh", "-c", script]].concat());
        // dockerd ends an attachment whose input ends, so it stays open as long as the container runs.
        let running = format!("docker inspect --format '{{{{.State.Running}}}}' {}", container.id);
        let keys = format!("echo a line; while [ \"$({running})\" = true ]; do sleep 0.3; done");
        let attached = run(&["sh", "-c", &format!("({keys}) | docker attach {}", container.id)]);
        assert_eq!((&*attached.stdout, &*attached.stderr), ("got a line\n", "away\n"), "{kind:?}");
        attached.fails(5);
        let logs = container.call("logs", &[]);
        assert_eq!((&*logs.stdout, &*logs.stderr), ("got a line\n", "away\n"), "{kind:?}");
    }
}

#[test]
fn vm_a_terminal_has_the_users_size_and_its_own_line_discipline() {
    let container = begun(&["--read-only", "--tmpfs=/tmp"], "true");
    let sized = on_terminal(&format!(
        "docker exec -it {} sh -c 'until [ \"$(stty size)\" = \"33 99\" ]; do sleep 0.1; done; tty; exit 4'",
        container.id
    ));
    assert!(sized.fails(4).contains("/dev/pts/"));
    // ^C reaches the process inside, as a signal; `read` forks nothing.
    let dir = TempDir::new("ended");
    let ended = format!("{}/ended", dir.str());
    let (id, struck) =
        (&container.id, "trap 'echo struck; exit 3' INT; touch /tmp/ready; read line");
    let keys = format!(
        "until docker exec {id} test -e /tmp/ready; do sleep 0.2; done; printf '\\003'; \
        until [ -e {ended} ]; do sleep 0.2; done"
    );
    let line = format!(
        "({keys}) | {{ timeout 100 script --quiet --return --command 'docker exec -it {id} sh -c \"$STRUCK\"' /dev/null
        code=$?; touch {ended}; exit $code; }}"
    );
    let struck = Cmd::new("sh").args(&["-c", &line]).env("STRUCK", struck).run();
    assert!(struck.fails(3).contains("struck"));
}

#[test]
fn vm_detached_with_a_terminal() {
    for kind in KINDS {
        let container = Container::generic(
            &[kind, &["--interactive", "--tty", "busybox", "sh", "-c", "tty; sleep 1000"]].concat(),
        );
        wait_for("the terminal's name is in the log", || {
            container.call("logs", &[]).stdout.contains("/dev/pts/0").then_some(())
        });
        // A process that is not init has none unless it asks for one.
        let exec = container.call("exec", &["tty"]);
        assert!(exec.fails(1).contains("not a tty"), "{kind:?}");
    }
}

#[test]
fn vm_the_stop_signal_and_the_time_it_has() {
    for kind in KINDS {
        let flags = [kind, &["--stop-signal=USR1"]].concat();
        let container = begun(&flags, "trap 'exit 9' USR1");
        container.call("stop", &[]).ok();
        assert_eq!(container.inspect(".State.ExitCode"), "9", "{kind:?}: --stop-signal");

        // The one that the image names.
        let image = FreshImage::new();
        let id = docker(&["create", "--network=none", image.name(), "true"]).ok();
        let name = unique_name("stop");
        docker(&["commit", "--change=STOPSIGNAL SIGUSR2", &id, &name]).ok();
        docker(&["rm", &id]).ok();
        let script = format!("trap 'exit 8' USR2; {SLEEP}");
        let container = Container::generic(&[kind, &[&name, "sh", "-c", &script]].concat());
        wait_for("the trap is set", || {
            container.call("logs", &[]).stdout.contains("begun").then_some(())
        });
        container.call("stop", &[]).ok();
        assert_eq!(container.inspect(".State.ExitCode"), "8", "{kind:?}: STOPSIGNAL");
        drop(container);
        docker(&["rmi", "--force", &name]).ok();
    }
    let deaf = begun(&["--read-only", "--stop-timeout=1"], "trap '' TERM");
    deaf.call("stop", &[]).ok();
    assert_eq!(deaf.inspect(".State.ExitCode"), "137");
    // Docker's own default is 10 s.
    let patience = between_the_signals(&deaf);
    assert!((1_000..9_000).contains(&patience), "{patience} ms");
}

/// Milliseconds from the first signal that dockerd sent to the container until the last, by its own clock.
#[track_caller]
fn between_the_signals(container: &Container) -> u64 {
    let filters =
        [format!("--filter=container={}", container.id), "--filter=event=kill".to_owned()];
    let format = "--format={{.TimeNano}} {{.Actor.Attributes.signal}}";
    let words = ["events", "--since=0", "--until=0s", &filters[0], &filters[1], format];
    let said = wait_for("dockerd tells of the last signal", || {
        let said = docker(&words).ok();
        said.lines().any(|line| line.ends_with(" 9")).then_some(said)
    });
    let sent: Vec<_> = said.lines().map(|line| line.split_once(' ').expect("two words")).collect();
    let time = |at: usize| sent[at].0.parse::<u64>().expect("a time") / 1_000_000;
    assert_eq!((sent[0].1, sent[sent.len() - 1].1), ("15", "9"), "{said}");
    time(sent.len() - 1) - time(0)
}

#[test]
fn vm_restart_policies() {
    for kind in KINDS {
        let flags = [kind, &["--restart=on-failure:2", "busybox", "sh", "-c", "echo one; exit 3"]];
        let container = Container::generic(&flags.concat());
        // One after the other, because each start takes its time.
        for count in ["1", "2"] {
            wait_for(&format!("restart {count}"), || {
                (*container.inspect(".RestartCount") >= *count).then_some(())
            });
        }
        container.becomes("exited");
        assert_eq!(container.inspect(".State.ExitCode"), "3", "{kind:?}");
        assert_eq!(container.call("logs", &[]).ok(), "one\none\none", "{kind:?}");

        let container = begun(&[kind, &["--restart=always"]].concat(), "trap 'exit 0' TERM");
        let pid = container.pid();
        run(&["kill", "-KILL", &pid.to_string()]).ok();
        wait_for("it runs again", || {
            let state = container.inspect(".State.Status");
            (state == "running" && ![0, pid].contains(&container.pid())).then_some(())
        });
        assert_eq!(container.exec(&["echo", "again"]), "again", "{kind:?}");
        container.call("stop", &[]).ok();
        assert_eq!(container.inspect(".State.Status"), "exited", "{kind:?}: stopped by the user");
    }
}

#[test]
fn vm_an_init_reaps_and_passes_signals_on() {
    let container = begun(&["--read-only", "--init"], "trap 'exit 6' TERM");
    // An orphan's parent is process 1.
    container.exec(&["sh", "-c", "(sleep 0.2 &) ; true"]);
    wait_for("the orphan is reaped", || {
        let zombies =
            container.exec(&["sh", "-c", "grep -l 'State:.Z' /proc/[0-9]*/status || true"]);
        zombies.is_empty().then_some(())
    });
    container.call("stop", &[]).ok();
    assert_eq!(container.inspect(".State.ExitCode"), "6");
}

#[test]
fn vm_the_logs_keep_what_was_written() {
    let script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo end >&2; exec sleep 1000";
    let container = Container::generic(&["--read-only", "busybox", "sh", "-c", script]);
    // At the end dockerd reads on for two seconds only.
    let logs = || container.call("logs", &[]);
    wait_for("the log has all of it", || {
        let logs = logs();
        (logs.stdout.lines().count() >= 3000 && logs.stderr == "end\n").then_some(())
    });
    container.call("kill", &[]).ok();
    container.becomes("exited");
    assert_eq!((logs().stdout.lines().count(), &*logs().stderr), (3000, "end\n"));
    let tail = container.with_flags("logs", &["--tail=2"]);
    assert_eq!(tail.stdout.lines().last(), Some("line 2999"));
}

#[test]
fn vm_waiting_for_a_container_gives_its_exit_code() {
    let container = begun(&[], "trap 'exit 23' USR1");
    let waiter = std::thread::spawn({
        let id = container.id.clone();
        move || docker(&["wait", &id]).ok()
    });
    container.with_flags("kill", &["--signal=USR1"]).ok();
    assert_eq!(waiter.join().expect("docker wait"), "23");
}

#[test]
fn vm_a_health_check_runs_inside() {
    let flags = [
        "--read-only",
        "--tmpfs=/tmp",
        "--health-cmd=test ! -e /tmp/ill",
        "--health-interval=1s",
        "--health-timeout=20s",
        "--health-retries=1",
    ];
    let container = begun(&flags, "true");
    let becomes = |health: &str| {
        wait_for(&format!("it is {health}"), || {
            (container.inspect(".State.Health.Status") == health).then_some(())
        });
    };
    becomes("healthy");
    container.exec(&["touch", "/tmp/ill"]);
    becomes("unhealthy");
    container.exec(&["rm", "/tmp/ill"]);
    becomes("healthy");
}

#[test]
fn vm_files_go_into_and_come_out_of_a_running_container() {
    let dir = TempDir::new("cp");
    std::fs::create_dir_all(dir.0.join("tree/below")).expect("make directories");
    std::fs::write(dir.0.join("tree/below/file"), "of the host").expect("write a file");
    let container = begun(&[], "true");
    let inside = |path: &str| format!("{}:{path}", container.id);
    docker(&["cp", &format!("{}/tree", dir.str()), &inside("/root")]).ok();
    assert_eq!(container.exec(&["cat", "/root/tree/below/file"]), "of the host");
    container.exec(&[
        "sh",
        "-c",
        "echo of the container > /root/tree/new; ln -s new /root/tree/link",
    ]);
    docker(&["cp", &inside("/root/tree"), &format!("{}/out", dir.str())]).ok();
    let read = |name: &str| std::fs::read_to_string(dir.0.join("out").join(name));
    assert_eq!(read("new").expect("the new file"), "of the container\n");
    assert_eq!(read("below/file").expect("the file from before"), "of the host");
    let link = std::fs::read_link(dir.0.join("out/link")).expect("a link");
    assert_eq!(link.to_str(), Some("new"));
    // What a read-only container has on a tmpfs is not Docker's, but its root is.
    let container = begun(&["--read-only"], "true");
    docker(&["cp", &format!("{}:/etc/passwd", container.id), dir.str()]).ok();
    assert!(std::fs::read_to_string(dir.0.join("passwd")).expect("passwd").starts_with("root:"));
    let refused =
        docker(&["cp", &format!("{}/passwd", dir.str()), &format!("{}:/etc", container.id)]);
    assert!(refused.status != 0 && refused.stderr.contains("read-only"), "{refused}");
}

#[test]
fn vm_input_that_is_a_stream_goes_through() {
    for kind in KINDS {
        let flags = [kind, &["--interactive", "busybox", "sh", "-c", "wc -c"]].concat();
        let runtime = format!("--runtime={}", runtime());
        let words = [&["run", "--rm", "--network=host", &runtime], &*flags].concat();
        let text = "0123456789abcde\n".repeat(20_000);
        let counted = Cmd::new("docker").args(&words).stdin(&text).run().ok();
        assert_eq!(counted.trim(), text.len().to_string(), "{kind:?}");
    }
}
