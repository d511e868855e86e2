//! What a process of a container has from its caller, its container and its own description. Generic: `RUNTIME=runc`
//! must pass too, but for the tests of sharedroot's own.
//!
//! Guest: --no-docker

use std::fs;

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{Cmd, unique_name};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::runtime::{Container, Runtime};

/// `create` as `runtime.create` has it, called by `caller`, a command that ends in the one it is given.
#[track_caller]
fn start_by<'r>(runtime: &'r Runtime, bundle: &Bundle, caller: &[&str]) -> Container<'r> {
    let program =
        std::env::var("RUNTIME").unwrap_or_else(|_| "/usr/local/bin/sharedroot".to_owned());
    // An ID of the runtime's own making, whose guard deletes it.
    let container = runtime.create(bundle);
    container.cmd("delete", &["--force"]).run().ok();
    let words = ["--root", runtime.root(), "create", "--bundle", bundle.str(), &container.id];
    Cmd::new(caller[0]).args(&caller[1..]).arg(&program).args(&words).run().ok();
    container.call("start", &[]).ok();
    container
}

/// The value of a line of `/proc/PID/status`.
fn status_line(pid: i32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().to_owned()
}

/// Waits until init runs its own program, so that nothing of the runtime is seen.
fn runs(container: &Container<'_>, program: &str) {
    wait_for(&format!("init is {program}"), || {
        let name = fs::read_to_string(format!("/proc/{}/comm", container.pid())).ok()?;
        (name.trim() == program).then_some(())
    });
}

#[test]
fn vm_groups_of_the_caller_stay_outside() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let container = start_by(&runtime, &bundle, &["setpriv", "--groups", "44,45"]);
    assert_eq!(status_line(container.pid(), "Groups"), "");
    let program =
        std::env::var("RUNTIME").unwrap_or_else(|_| "/usr/local/bin/sharedroot".to_owned());
    let exec = ["--root", runtime.root(), "exec", &container.id, "id", "-G"];
    let exec = Cmd::new("setpriv").args(&["--groups", "44,45", &program]).args(&exec).run();
    assert_eq!(exec.ok(), "0");
}

#[test]
fn vm_umask_is_not_the_callers() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let narrow = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];
    let container = start_by(&runtime, &bundle, &narrow);
    runs(&container, "sleep");
    assert_eq!(status_line(container.pid(), "Umask"), "0022");
    bundle.edit(|config| config["process"]["user"]["umask"] = json!(0o027));
    let container = start_by(&runtime, &bundle, &narrow);
    runs(&container, "sleep");
    assert_eq!(status_line(container.pid(), "Umask"), "0027");
}

/// Makes a session keyring with a key in it, and runs what it is given.
const SESSION: &str = r#"
    my ($session, $type, $name, $data) = ("callers-session", "user", "callers-secret", "x");
    syscall(250, 1, $session) > 0 or die "join: $!";
    syscall(248, $type, $name, $data, 1, -3) > 0 or die "add: $!";
    exec @ARGV or die "exec: $!";
"#;
/// Prints the name of the session keyring, and what a search for the caller's key finds.
const LOOK: &str = r#"
    my ($type, $name, $buffer) = ("user", "callers-secret", "\0" x 200);
    my $length = syscall(250, 6, -3, $buffer, 200);
    print((split /;/, substr($buffer, 0, $length - 1))[4], " ");
    print syscall(250, 10, -3, $type, $name, 0) > 0 ? "found" : "hidden";
"#;

/// A bundle in which the host's perl runs.
fn with_perl(runtime: &Runtime) -> Bundle {
    let bundle = Bundle::new(runtime, &["sleep", "1000"]);
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        let dirs = ["/usr/bin", "/usr/lib", "/usr/share/perl", "/lib", "/lib64"];
        let mounts = dirs.iter().filter(|dir| fs::exists(dir).unwrap()).map(|dir| {
            json!({ "destination": dir, "type": "bind", "source": dir, "options": ["bind", "ro"] })
        });
        config["mounts"].as_array_mut().unwrap().extend(mounts);
    });
    bundle
}

/// The keyring's name is runc's; crun makes one under another.
#[test]
fn vm_session_keyring_is_the_containers() {
    let runtime = Runtime::of_env();
    let bundle = with_perl(&runtime);
    let container = start_by(&runtime, &bundle, &["perl", "-e", SESSION]);
    let own = format!("_ses.{} hidden", container.id);
    let keys = fs::read_to_string("/proc/keys").unwrap();
    assert!(keys.contains(&format!("_ses.{}", container.id)), "init's keyring: {keys}");
    let program =
        std::env::var("RUNTIME").unwrap_or_else(|_| "/usr/local/bin/sharedroot".to_owned());
    let exec = ["--root", runtime.root(), "exec", &container.id, "/usr/bin/perl", "-e", LOOK];
    let exec = Cmd::new("perl").args(&["-e", SESSION, &program]).args(&exec).run().ok();
    assert_eq!(exec, own);
    // The look itself finds the key where it may.
    let outside = Cmd::new("perl").args(&["-e", SESSION, "perl", "-e", LOOK]).run().ok();
    assert_eq!(outside, "callers-session found");
}

#[test]
fn vm_no_new_keyring_keeps_the_callers() {
    let runtime = Runtime::of_env();
    let bundle = with_perl(&runtime);
    let id = unique_name("keyring");
    let program =
        std::env::var("RUNTIME").unwrap_or_else(|_| "/usr/local/bin/sharedroot".to_owned());
    bundle.edit(|config| config["process"]["args"] = json!(["/usr/bin/perl", "-e", LOOK]));
    let run = ["--root", runtime.root(), "run", "--no-new-keyring", "--bundle", bundle.str(), &id];
    let run = Cmd::new("perl").args(&["-e", SESSION, &program]).args(&run).run();
    assert_eq!(run.ok(), "callers-session found");
}

#[test]
fn vm_streams_belong_to_the_user() {
    let runtime = Runtime::of_env();
    let write = ["sh", "-c", "echo a >> /proc/self/fd/1 && echo b >> /proc/self/fd/2"];
    let bundle = Bundle::new(&runtime, &write);
    bundle.edit(|config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    let id = unique_name("streams");
    let run = runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run();
    assert_eq!((run.status, &*run.stdout, &*run.stderr), (0, "a\n", "b\n"), "{run}");
    bundle.edit(|config| config["process"]["args"] = json!(["sleep", "1000"]));
    let container = runtime.start(&bundle);
    assert_eq!(container.exec(&[], &write).ok(), "a");
}

fn exec_file(container: &Container<'_>, process: &Value) -> sharedroot_tests::command::Output {
    let dir = TempDir::new("process");
    let path = dir.0.join("process.json");
    fs::write(&path, process.to_string()).unwrap();
    container.cmd("exec", &["--process", path.to_str().unwrap()]).run()
}

/// Ours alone: by a description without them runc leaves the caller's limits as they are, crun also the score.
#[test]
fn vm_sharedroot_gives_exec_what_its_description_leaves_out() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    bundle.edit(|config| {
        config["process"]["oomScoreAdj"] = json!(77);
        config["process"]["rlimits"] =
            json!([{ "type": "RLIMIT_SIGPENDING", "soft": 99, "hard": 100 }]);
    });
    let container = runtime.start(&bundle);
    let look = [
        "sh",
        "-c",
        "set -- $(grep pending /proc/self/limits); echo $4; cat /proc/self/oom_score_adj",
    ];
    let user = json!({ "uid": 0, "gid": 0 });
    let process = json!({ "cwd": "/", "args": look, "env": ["PATH=/bin"], "user": user });
    assert_eq!(exec_file(&container, &process).ok(), "99\n77");
    let limits = json!([{ "type": "RLIMIT_SIGPENDING", "soft": 50, "hard": 60 }]);
    let mut own = process;
    own["rlimits"] = limits;
    assert_eq!(exec_file(&container, &own).ok(), "50\n77");
}

#[test]
fn vm_exec_is_checked_before_it_is_begun() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    assert_eq!(
        container.exec(&["--additional-gids", "44", "--additional-gids", "45"], &["id", "-G"]).ok(),
        "0 44 45"
    );
    let user = json!({ "uid": 0, "gid": 0 });
    let process = json!({ "cwd": "/", "args": ["true"], "env": ["PATH=/bin"], "user": user });
    exec_file(&container, &process).ok();
    let mut wrong = process.clone();
    wrong["cwd"] = json!("etc");
    let refused = exec_file(&container, &wrong);
    assert!(refused.status != 0 && refused.stderr.to_lowercase().contains("cwd"), "{refused}");
    wrong["cwd"] = json!("/no/such/directory");
    assert_ne!(exec_file(&container, &wrong).status, 0, "exec makes no directory");
    let mut nothing = process;
    nothing["args"] = json!([]);
    let refused = exec_file(&container, &nothing);
    assert!(refused.status != 0 && refused.stderr.contains("args"), "{refused}");
}

#[test]
fn vm_exec_joins_a_divided_cgroup() {
    let runtime = Runtime::of_env();
    let divide = "cd /sys/fs/cgroup && mkdir init && echo $$ > init/cgroup.procs && \
                  echo +pids > cgroup.subtree_control && exec sleep 1000";
    let bundle = Bundle::new(&runtime, &["sh", "-c", divide]);
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        let cgroup = mounts.iter_mut().find(|m| m["destination"] == "/sys/fs/cgroup").unwrap();
        cgroup["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        if !namespaces.iter().any(|namespace| namespace["type"] == "cgroup") {
            namespaces.push(json!({ "type": "cgroup" }));
        }
    });
    let container = runtime.start(&bundle);
    runs(&container, "sleep");
    assert_eq!(container.exec(&[], &["cat", "/proc/self/cgroup"]).ok(), "0::/init");
    // The container's own cgroup takes no process, but another child of it does.
    container.exec(&[], &["mkdir", "/sys/fs/cgroup/other"]).ok();
    let other = container.exec(&["--cgroup", "other"], &["cat", "/proc/self/cgroup"]);
    assert_eq!(other.ok(), "0::/other");
    let absent = container.exec(&["--cgroup", "absent"], &["true"]);
    assert_ne!(absent.status, 0, "{absent}");
    assert!(!container.exec(&[], &["ls", "/sys/fs/cgroup"]).ok().contains("absent"));
}

#[test]
fn vm_unknown_capabilities_are_left_out() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    bundle.edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_KILL", "CAP_OF_THE_FUTURE"]);
        }
    });
    let container = runtime.start(&bundle);
    assert_eq!(status_line(container.pid(), "CapBnd"), "0000000000000020");
}

/// Ours alone: runc has a personality since 1.2 only, and crun leaves out the flags that it does not know.
#[test]
fn vm_sharedroot_sets_the_personality() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    bundle.edit(|config| config["linux"]["personality"] = json!({ "domain": "LINUX32" }));
    let container = runtime.start(&bundle);
    runs(&container, "sleep");
    let of_init = fs::read_to_string(format!("/proc/{}/personality", container.pid())).unwrap();
    assert_eq!(of_init.trim(), "00000008");
    assert_eq!(container.exec(&[], &["cat", "/proc/self/personality"]).ok(), "00000008");

    bundle.edit(|config| config["linux"]["personality"]["flags"] = json!(["ADDR_NO_RANDOMIZE"]));
    let refused = runtime.cmd(&["create", "--bundle", bundle.str(), "refused"]).run();
    assert!(refused.status != 0 && refused.stderr.contains("linux.personality.flags"), "{refused}");
}

/// Ours alone: runc has it since 1.2 only, and neither gives it to an `exec` by flags.
#[test]
fn vm_sharedroot_honours_the_scheduler() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    bundle.edit(|config| {
        config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
        config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 0 });
    });
    let container = runtime.start(&bundle);
    runs(&container, "sleep");
    let look = json!({ "cwd": "/", "args": ["cat", "/proc/self/stat"], "env": ["PATH=/bin"],
                       "user": { "uid": 0, "gid": 0 } });
    for (who, stat) in [
        ("init", fs::read_to_string(format!("/proc/{}/stat", container.pid())).unwrap()),
        ("exec by flags", container.exec(&[], &["cat", "/proc/self/stat"]).ok()),
        ("exec by a description", exec_file(&container, &look).ok()),
    ] {
        // proc_pid_stat(5): nice is field 19, the policy 41; 3 is SCHED_BATCH.
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        assert_eq!((fields[16], fields[38]), ("5", "3"), "{who}: {stat}");
    }
}

/// As with crun; runc loads such a filter as early as the engine would.
#[test]
fn vm_sharedroot_has_a_filter_for_the_program_alone() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    bundle.edit(|config| {
        config["process"].as_object_mut().unwrap().remove("noNewPrivileges");
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        // What a runtime itself asks when it is nearly done.
        config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
        ] });
    });
    let wanted = bundle.path().join("config.json");
    let wanted: Value = serde_json::from_str(&fs::read_to_string(wanted).unwrap()).unwrap();
    assert!(!wanted["process"]["capabilities"]["bounding"].to_string().contains("SYS_ADMIN"));
    let container = runtime.create(&bundle);
    // Nothing is left of what loading it takes, neither while it waits nor after its start.
    for verb in ["state", "start"] {
        container.call(verb, &[]).ok();
        let pid = container.pid();
        assert_eq!(status_line(pid, "Seccomp"), "2", "{verb}");
        for set in ["CapBnd", "CapEff", "CapPrm"] {
            let bits = u64::from_str_radix(&status_line(pid, set), 16).unwrap();
            // CAP_SYS_ADMIN and CAP_SETPCAP
            assert_eq!(bits & (1 << 21 | 1 << 8), 0, "{verb} {set}");
        }
    }
    let refused = container.exec(&[], &["pwd", "-P"]);
    assert_ne!(refused.status, 0, "{refused}");
    bundle.edit(|config| {
        config["linux"].as_object_mut().unwrap().remove("seccomp").map(drop).unwrap()
    });
    let plain = runtime.start(&bundle);
    plain.exec(&[], &["pwd", "-P"]).ok();
}
