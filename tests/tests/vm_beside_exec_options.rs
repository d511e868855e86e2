//! `docker exec` with each option of its manual, with runc and with ours, in containers that differ in what an exec has from
//! them: exit code, output, the reason of a refusal, and what the process sees of itself.
//!
//! Only `hack/test --long` runs this hunt through a manual's options: no document's claim rests on it.
//!
//! Guest: --long --limit 900 --takes 90 --shim long

use std::fs;

use sharedroot_tests::beside::{LOOK, Rows, make_rootfs_for_look, rows_beside_runc, told};
use sharedroot_tests::command::{Cmd, run};
use sharedroot_tests::docker::{Container, FreshImage};
use sharedroot_tests::lab::{TempDir, wait_for};

/// Flags of `docker run`, of each container: what is executed in it has these from it.
const CONTAINERS: [&[&str]; 4] = [
    &["--read-only", "--tmpfs=/tmp"],
    &[
        "--user=user",
        "--group-add=29",
        "--workdir=/etc",
        "--cap-drop=ALL",
        "--cap-add=NET_BIND_SERVICE",
        "--cap-add=CHOWN",
        "--security-opt=no-new-privileges",
        "--oom-score-adj=500",
        "--ulimit=nofile=100:200",
        "--ulimit=core=0",
        "--env=Z=1",
        "--env=A=of the container",
        "--init",
        "--memory=64m",
        "--pids-limit=40",
    ],
    &["--privileged", "--pid=host", "--cgroupns=host", "--env=HOME=/x"],
    &["--tty", "--user=1000:7", "--security-opt=seccomp=unconfined", "--cap-add=ALL"],
];

/// What each runtime's containers of these flags give for `work`.
#[track_caller]
fn in_each(containers: &[&[&str]], work: impl Fn(&Container, &mut Rows) + Sync) {
    let image = FreshImage::empty(make_rootfs_for_look);
    rows_beside_runc(|runtime| {
        let mut rows = Rows::new();
        for flags in containers {
            let words = [&["--hostname=same"], *flags, &[image.name(), "sleep", "1000"]].concat();
            let container = Container::run_with(runtime, &words);
            let begin = rows.len();
            work(&container, &mut rows);
            for (what, _) in &mut rows[begin..] {
                *what = format!("{:.30} {what}", flags.join(" "));
            }
        }
        rows
    });
}

/// `docker exec FLAGS… ID COMMAND…`
#[track_caller]
fn exec(container: &Container, rows: &mut Rows, flags: &[&str], command: &[&str]) {
    let cmd = Cmd::new("docker").arg("exec").args(flags).arg(&container.id).args(command);
    let output = cmd.stdin("of stdin\n").run();
    rows.push((format!("{flags:?} {:.40}", command.join(" ").trim()), told(&output)));
}

#[test]
fn vm_what_an_exec_is() {
    let dir = TempDir::new("env");
    fs::write(dir.0.join("env"), "A=1\nB= x y\n#C=2\nHOME=/h\n").unwrap();
    let file = format!("--env-file={}/env", dir.str());
    in_each(&CONTAINERS, |container, rows| {
        for flags in [
            &["--env=A=1", "--env=B=", "--env=NOSUCH", "--env=A=2", "--env=PATH=/bin:/x"][..],
            &[&file, "--env=B=2", "--user=1000:77", "--interactive"],
            &["--user=user:tty", "--workdir=/tmp"],
            &["--privileged", "--user=5000"],
            &["--tty", "--user=user", "--env=TERM=x"],
        ] {
            exec(container, rows, flags, &["sh", "-c", LOOK]);
        }
    });
}

#[test]
fn vm_how_an_exec_ends() {
    in_each(&CONTAINERS[..1], |container, rows| {
        for (flags, command) in [
            (&["--interactive"][..], &["cat"][..]),
            (&[], &["cat"]),
            (&["--tty"], &["sh", "-c", "tty; stty size; echo away >&2; exit 5"]),
            (&[], &["sh", "-c", "echo away >&2; exit 6"]),
            (&[], &["sh", "-c", "kill -9 $$"]),
            (&[], &["sh", "-c", "kill -TERM $$"]),
            (&[], &["/no/such"]),
            (&[], &["nosuch"]),
            (&[], &[""]),
            (&[], &["/file"]),
            (&[], &["/etc"]),
            (&["--workdir=/bin"], &["./id", "-u"]),
            (&["--env=PATH=/nowhere"], &["id", "-u"]),
            (&["--user=nosuch"], &["id"]),
            (&["--user=user:nosuch"], &["id"]),
            (&["--user=4294967295"], &["id"]),
            (&["--user=-1"], &["id"]),
            (&["--user=:77"], &["id"]),
            (&["--workdir=/nosuch"], &["pwd"]),
            (&["--workdir=/file"], &["pwd"]),
            (&["--workdir=etc"], &["pwd"]),
            (&["--tty", "--workdir=/nosuch"], &["pwd"]),
            (&["--tty"], &["/no/such"]),
            (&["--detach"], &["/no/such"]),
            (&["--detach", "--workdir=/nosuch"], &["pwd"]),
        ] {
            exec(container, rows, flags, command);
        }
    });
}

#[test]
fn vm_an_exec_that_nobody_waits_for() {
    in_each(&CONTAINERS[1..2], |container, rows| {
        let script = format!("exec > /tmp/out.new 2>&1; {LOOK}; mv /tmp/out.new /tmp/out");
        for flags in [&["--detach"][..], &["--detach", "--tty", "--user=0"]] {
            exec(container, rows, flags, &["sh", "-c", &script]);
            let found = wait_for("what it saw", || {
                let cat = container.call("exec", &["cat", "/tmp/out"]);
                (cat.status == 0).then_some(cat)
            });
            rows.push((format!("{flags:?} saw"), told(&found)));
            container.with_flags("exec", &["--user=0"]);
            container.call("exec", &["rm", "/tmp/out"]);
        }
    });
}

/// A user leaves a terminal, and what runs there goes on.
#[test]
fn vm_a_terminal_is_left_by_keys() {
    in_each(&CONTAINERS[..1], |container, rows| {
        let line = format!(
            "docker exec -it --detach-keys=a,b {} sh -c 'echo begun; sleep 2; touch /tmp/went-on; sleep 600'",
            container.id
        );
        let keys = "until grep -q begun typed; do sleep 0.1; done; printf ab; sleep 3";
        let dir = TempDir::new("keys");
        let script = format!(
            "cd {}; : > typed; ({keys}) | script --quiet --flush --return --command \"{line}\" typed; echo $?",
            dir.str()
        );
        let left = run(&["bash", "-c", &script]);
        let (out, status) = left.stdout.trim().rsplit_once('\n').unwrap_or(("", ""));
        rows.push(("left with".to_owned(), format!("{status} {}", out.contains("begun"))));
        wait_for("the process went on", || {
            (container.call("exec", &["ls", "/tmp/went-on"]).status == 0).then_some(())
        });
    });
}
