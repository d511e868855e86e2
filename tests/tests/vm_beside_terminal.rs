//! Terminals of `docker run -t` and `docker exec -t` beside runc: which device, who leads its session, `/dev/tty`, job control,
//! `setsid`, `su` and `script` in it. Numbers of processes differ, for runc's own threads take some in the container.
//!
//! Guest: --limit 800 --shim long

use sharedroot_tests::beside::{beside_runc, seen};
use sharedroot_tests::command::run;
use sharedroot_tests::docker::{Container, KINDS, docker, docker_run};

/// What a shell finds of its terminal; `leads` if it is its session's, its group's and the foreground's leader.
const LOOK: &str = "tty; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all; echo to-tty > /dev/tty; stty -a | head -1
    ls -ln $(tty) | cut -d' ' -f1-4
    set -- $(cat /proc/$$/stat); [ $5 = $$ ] && [ $6 = $$ ] && [ $8 = $$ ] && echo leads; : < /dev/console; echo $?";
/// Has job control bring a job of the background to the foreground: the job ends when it is there (proc_pid_stat(5): its group
/// and the terminal's).
const JOB: &str = "job() { for n in $(seq 600); do set -- $(cat /proc/$BASHPID/stat); [ $5 = $8 ] && return; sleep 0.1; done; }
  job & fg; echo done";
/// Each with a terminal of its own: without its session's a process has none, a user keeps the caller's.
const COMMANDS: [&[&str]; 6] = [
    &["sh", "-c", LOOK],
    &["bash", "-ic", JOB],
    &["setsid", "--wait", "sh", "-c", "tty; echo x > /dev/tty; echo $?"],
    &["su", "-s", "/bin/sh", "www-data", "-c", "tty; id -un; echo x > /dev/tty; echo $?"],
    &["script", "-qec", "tty; echo in", "/dev/null"],
    &["sh", "-c", "kill -HUP $$; echo alive"],
];

/// Without the number of a job's process and of the terminal: the engine lets go of an earlier exec's when it comes to that.
fn plain((status, said): (i32, String)) -> (i32, String) {
    let numbered = |line: &str| {
        let start = ["[1] ", "/dev/pts/"].into_iter().find(|start| line.starts_with(start))?;
        let number = line[start.len()..].trim();
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{start}N"))
    };
    let lines = said.lines().map(|line| numbered(line).unwrap_or_else(|| line.to_owned()));
    (status, lines.collect::<Vec<_>>().join("\n"))
}

#[test]
fn vm_the_terminal_of_a_container() {
    for kind in KINDS {
        for user in ["--user=0", "--user=1000:5"] {
            let words = [kind, &["--tty", user, "debian", "sh", "-c", LOOK]].concat();
            let (status, said) = beside_runc(&format!("{kind:?} {user}"), |runtime| {
                plain(seen(&docker_run(runtime, &words)))
            });
            assert!(said.contains("/dev/pts/N") && said.contains("leads"), "{status} {said}");
        }
    }
}

#[test]
fn vm_the_terminal_of_an_exec() {
    for (kind, flags) in KINDS.into_iter().zip([&["--interactive", "--tty"][..], &[]]) {
        let words = [kind, flags, &["debian", "sleep", "1000"]].concat();
        let [runc, ours] = ["runc", "sharedroot"].map(|name| Container::run_with(name, &words));
        for user in ["--user=0", "--user=1000:5"] {
            // Of a user su asks for a password.
            for command in COMMANDS.iter().filter(|c| c[0] != "su" || user == "--user=0") {
                let what = format!("{kind:?} {flags:?} {user} {command:?}");
                beside_runc(&what, |runtime| {
                    let id = if runtime == "runc" { &runc.id } else { &ours.id };
                    let exec = [&["exec", "--tty", user, id][..], *command].concat();
                    plain(seen(&docker(&exec)))
                });
            }
        }
    }
}

/// The client is killed: what it started goes on, and its end is the daemon's to see.
#[test]
fn vm_what_a_killed_exec_leaves() {
    for kind in KINDS {
        beside_runc(&format!("{kind:?}"), |runtime| {
            let words = [kind, &["busybox", "sleep", "1000"]].concat();
            let container = Container::run_with(runtime, &words);
            let line = format!(
                "script -qec 'docker exec -it {id} sleep 777' /dev/null < /dev/null > /dev/null & client=$!
                until docker exec {id} ps -o args | grep -q '^sleep 777'; do sleep 0.2; done
                kill -KILL $client; wait $client",
                id = container.id
            );
            let killed = run(&["sh", "-c", &line]).status;
            let look = ["sh", "-c", "ps -o args | grep -c '^sleep'; ls /dev/pts"];
            let exec = [&["exec", &container.id][..], &look].concat();
            (killed, seen(&docker(&exec)))
        });
    }
}
