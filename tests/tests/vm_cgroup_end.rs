//! What a container made of its cgroup does not hold up its end. Generic: `RUNTIME=runc` must pass the flat one, too.
//!
//! Guest: --no-docker --limit 400

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use sharedroot_tests::attack::{own_cgroup, report};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::unique_name;
use sharedroot_tests::lab::wait_for;
use sharedroot_tests::runtime::{Container, Runtime};

/// A container that runs `script` in a cgroup of its own that it may divide, and this cgroup. The container says that it is done
/// by a cgroup of the name `done`.
fn divided<'r>(runtime: &'r Runtime, script: &str) -> (Bundle, Container<'r>, PathBuf) {
    let bundle = Bundle::new(runtime, &["sh", "-c", script]);
    bundle.edit(|config| {
        own_cgroup(config);
    });
    let container = runtime.create(&bundle);
    let line = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).expect("read");
    let dir = Path::new("/sys/fs/cgroup").join(line.trim().trim_start_matches("0::/"));
    container.call("start", &[]).ok();
    wait_for("it has divided its cgroup", || dir.join("done").exists().then_some(()));
    (bundle, container, dir)
}

fn processes(container: &Container<'_>) -> usize {
    container.call("ps", &["--format", "json"]).ok().matches(',').count() + 1
}

/// Removes a container of [`divided`] by force. Returns how long that took, and whether the cgroup is left.
fn removed_after(script: &str) -> (Duration, bool) {
    let runtime = Runtime::sharedroot();
    let (_bundle, container, dir) = divided(&runtime, script);
    let began = Instant::now();
    container.call("delete", &["--force"]).ok();
    (began.elapsed(), dir.exists())
}

/// 16 of 250 characters are more than a path can say; a process is in the deepest one.
const DEEP: &str = "n=$(printf '%0250d' 0); cd /sys/fs/cgroup; \
                    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do mkdir $n && cd -P $n || exit 1; done; \
                    sleep 1000 & echo $! > cgroup.procs";

#[test]
fn vm_nested_cgroups_with_long_names_end_with_their_container() {
    let script = format!("{DEEP}; mkdir /sys/fs/cgroup/done; exec sleep 1000");
    let (took, left) = removed_after(&script);
    assert!(!left, "the cgroup is left");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// Ours alone: runc takes the paths of cgroups, and so finds no process there. One path is longer than
/// the kernel prints, another one is not of UTF-8.
#[test]
fn vm_no_process_is_left_out_of_a_signal_to_all() {
    let runtime = Runtime::sharedroot();
    let script = format!(
        "trap : TERM; {DEEP}; other=/sys/fs/cgroup/$(printf '\\377'); mkdir $other; sleep 1000 & \
         echo $! > $other/cgroup.procs; mkdir /sys/fs/cgroup/done; wait; wait; exec sleep 1000"
    );
    let (_bundle, container, dir) = divided(&runtime, &script);
    assert_eq!(processes(&container), 3);
    let pids: Vec<i32> = serde_json::from_value(container.call("ps", &["--format", "json"]).json())
        .expect("numbers");
    let cgroups: Vec<_> = pids.iter().map(|pid| fs::read(format!("/proc/{pid}/cgroup"))).collect();
    // Some kernels return ENAMETOOLONG, others cut the path.
    let too_long = |read: &std::io::Result<Vec<u8>>| match read {
        Ok(text) => text.len() >= 4096,
        Err(error) => error.raw_os_error() == Some(36),
    };
    assert!(cgroups.iter().any(too_long), "no path is longer than PATH_MAX: {cgroups:?}");
    assert!(cgroups.iter().flatten().any(|text| text.contains(&0xff)), "{cgroups:?}");
    runtime.cmd(&["kill", "--all", &container.id, "TERM"]).run().ok();
    wait_for("both have ended", || (processes(&container) == 1).then_some(()));
    container.becomes("running");
    container.call("delete", &["--force"]).ok();
    assert!(!dir.exists());
}

#[test]
fn vm_many_cgroups_end_with_their_container() {
    let script = "cd /sys/fs/cgroup; i=0; while [ $i -lt 500 ]; do mkdir c$i; i=$((i+1)); done; \
                  mkdir done; exec sleep 1000";
    let (took, left) = removed_after(script);
    assert!(!left, "the cgroup is left");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

/// Ours alone, for it is about system calls. A cgroup is read once, however many processes there are.
#[test]
fn vm_every_process_gets_one_signal() {
    const PROCESSES: usize = 300;
    let runtime = Runtime::sharedroot();
    let script = format!(
        "trap : TERM; cd /sys/fs/cgroup; i=0; while [ $i -lt {PROCESSES} ]; do mkdir c$i; sleep 1000 & \
         echo $! > c$i/cgroup.procs; i=$((i+1)); done; mkdir done; while :; do sleep 1000 & wait $!; done"
    );
    let (bundle, container, _dir) = divided(&runtime, &script);
    let trace = format!("{}/trace", bundle.str());
    let calls_of = |signal: &str, call: &str| {
        let words = ["-f", "-qq", "-o", &trace, "-e", "trace=openat,pidfd_send_signal"];
        let kill = ["--root", runtime.root(), "kill", "--all", &container.id, signal];
        let done = Command::new("strace").args(words).arg(runtime.program()).args(kill).status();
        assert!(done.expect("start strace").success());
        let text = fs::read_to_string(&trace).expect("read");
        text.lines().filter(|line| line.contains(call)).count()
    };
    assert!(processes(&container) > PROCESSES);
    let read = calls_of("TERM", "cgroup.procs");
    assert!((PROCESSES..PROCESSES + 50).contains(&read), "{read} cgroups were read");
    wait_for("the processes have ended", || (processes(&container) < 5).then_some(()));
    assert_eq!((calls_of("KILL", "cgroup.procs"), calls_of("KILL", "pidfd_send_signal")), (0, 0));
    container.becomes("stopped");
}

/// The PID namespace of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pids {
    Own,
    Hosts,
}

/// Whether somebody has removed the cgroup after the first container's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cgroup {
    Kept,
    Remade,
}

/// A container that has ended and is not deleted, and a later one in the same cgroup. Only the first one's commands are called.
fn later_one_lives(runtime: &Runtime, pids: Pids, cgroup: Cgroup, commands: &[&[&str]]) {
    let path = unique_name("common");
    let make = || {
        let bundle = Bundle::new(runtime, &["sleep", "1000"]);
        bundle.edit(|config| {
            config["linux"]["cgroupsPath"] = json!(format!("/{path}"));
            if pids == Pids::Hosts {
                let namespaces = config["linux"]["namespaces"].as_array_mut().expect("a list");
                namespaces.retain(|namespace| namespace["type"] != "pid");
            }
        });
        bundle
    };
    let (first, second) = (make(), make());
    let dir = Path::new("/sys/fs/cgroup").join(&path);
    let ended = runtime.start(&first);
    ended.call("kill", &["KILL"]).ok();
    ended.becomes("stopped");
    if cgroup == Cgroup::Remade {
        fs::remove_dir(&dir).expect("remove the empty cgroup");
    }
    let later = runtime.start(&second);
    let pid = later.pid();
    let limit = runtime.cmd(&["update", "--pids-limit", "77", &ended.id]).run();
    assert_ne!(limit.status, 0, "{limit}");
    assert_eq!(fs::read_to_string(dir.join("pids.max")).expect("read").trim(), "max");
    for command in commands {
        let (verb, words) = command.split_first().expect("a verb");
        let said = runtime.cmd(&[verb]).args(words).arg(&ended.id).run();
        report(&format!("{pids:?}, {cgroup:?}: {said}"));
        if runtime.is_sharedroot() {
            assert_eq!(said.status, 0, "{said}");
            assert!(!said.stdout.contains(&pid.to_string()), "{said}");
        }
        assert_eq!(later.status(), "running", "{command:?} has ended a later container: {said}");
    }
    assert!(!ended.exists());
    assert_eq!((later.status().as_str(), later.pid()), ("running", pid));
    let inside = fs::read_to_string(dir.join("cgroup.procs")).expect("its cgroup is there");
    assert_eq!(inside.trim(), pid.to_string());
    later.call("delete", &["--force"]).ok();
    assert!(!dir.exists());
}

/// The container's PID namespace has ended, so nothing in the cgroup is the container's.
#[test]
fn vm_delete_leaves_a_later_container_in_the_same_cgroup() {
    let runtime = Runtime::of_env();
    later_one_lives(&runtime, Pids::Own, Cgroup::Kept, &[&["delete"]]);
    later_one_lives(&runtime, Pids::Own, Cgroup::Kept, &[&["delete", "--force"]]);
}

/// Ours alone: runc kills what it finds there.
#[test]
fn vm_no_command_reaches_a_later_container_in_the_same_cgroup() {
    let runtime = Runtime::sharedroot();
    let ps: &[&str] = &["ps", "--format", "json"];
    let commands = [ps, &["delete", "--force"]];
    later_one_lives(&runtime, Pids::Own, Cgroup::Kept, &commands);
    // Of processes of the host's PID namespace, only another cgroup of the same path tells that they are not the container's.
    later_one_lives(&runtime, Pids::Hosts, Cgroup::Remade, &commands);
    // `kill --all` of a container that has ended.
    let path = unique_name("common");
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    bundle.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("/{path}")));
    let ended = runtime.start(&bundle);
    ended.call("kill", &["KILL"]).ok();
    ended.becomes("stopped");
    let later = runtime.start(&bundle);
    runtime.cmd(&["kill", "--all", &ended.id, "KILL"]).run().ok();
    let state = Path::new(runtime.root()).join(&ended.id).join("state.json");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(later.status(), "running", "kill --all");
    // And one whose state is cut short.
    fs::write(&state, "").expect("cut it short");
    ended.call("delete", &["--force"]).ok();
    assert_eq!(later.status(), "running", "delete of a state that is cut short");
    assert!(!state.exists());
}

/// Does what a container can do to a cgroup of its own: it freezes the cgroup into which an exec is led. Returns an exec on its way,
/// and the process that leads the way, which is in no PID namespace of the container.
fn frozen_on_the_way(runtime: &Runtime, container: &Container<'_>, dir: &Path) -> (Child, String) {
    let write = |file: &str, text: &str| fs::write(dir.join(file), text).expect("write a file");
    let read = || fs::read_to_string(dir.join("a/cgroup.procs")).expect("list processes");
    let init = container.pid().to_string();
    for name in ["a", "b"] {
        fs::create_dir(dir.join(name)).expect("make a cgroup");
    }
    write("a/cgroup.procs", &init);
    write("cgroup.subtree_control", "+pids");
    write("a/cgroup.freeze", "1");
    let mut exec = Command::new(runtime.program());
    exec.args(["--root", runtime.root(), "exec", &container.id, "true"]);
    let exec = exec.stderr(Stdio::null()).spawn().expect("start exec");
    let guide = wait_for("an exec is on its way", || {
        read().lines().find(|pid| *pid != init).map(str::to_owned)
    });
    write("b/cgroup.procs", &init);
    (exec, guide)
}

/// Ours alone: runc's exec is led in another way.
#[test]
fn vm_an_exec_that_the_container_stops_on_its_way_ends_with_the_container() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    for ends in ["the container", "the exec"] {
        let container = runtime.start(&bundle);
        let line = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).expect("read");
        let dir = Path::new("/sys/fs/cgroup").join(line.trim().trim_start_matches("0::/"));
        let (mut exec, guide) = frozen_on_the_way(&runtime, &container, &dir);
        if ends == "the exec" {
            exec.kill().expect("kill the exec");
            exec.wait().expect("its end");
        } else {
            container.call("kill", &["KILL"]).ok();
            let status = wait_for("the exec has ended", || exec.try_wait().expect("its status"));
            assert!(!status.success());
        }
        wait_for(&format!("with {ends} the way ends"), || {
            (!Path::new("/proc").join(&guide).exists()).then_some(())
        });
        container.call("delete", &["--force"]).ok();
        assert!(!dir.exists(), "{ends}: the cgroup is left");
        std::mem::forget(container);
    }
}
