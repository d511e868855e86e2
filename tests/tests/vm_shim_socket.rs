//! The task service at the socket of the shim, without containerd: each call in each state, twice and in the wrong order, with
//! IDs that nobody has, beside containerd's own shim with runc.
//!
//! Guest: --with shim --alone --limit 900 --takes 120

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use std::thread;
use std::time::{Duration, Instant};

use prost::Message;
use serde_json::json;
use sharedroot_task::messages::Any;
use sharedroot_task::messages::task::*;
use sharedroot_task::{Call, Code, Method};
use sharedroot_tests::bundle::{Bundle, make_rootfs};
use sharedroot_tests::census::Census;
use sharedroot_tests::command::out;
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::shim::{RUNTIMES, install};
use sharedroot_tests::shim_socket::{Answer, Shim};

/// SIGWINCH, which changes nothing.
const HARMLESS: u32 = 28;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
struct Who<'a> {
    id: &'a str,
    exec: &'a str,
    bundle: &'a str,
}

/// A call of each method.
fn call(method: Method, who: Who<'_>) -> Call {
    let (id, exec_id) = (who.id.to_owned(), who.exec.to_owned());
    match method {
        Method::State => Call::State(StateRequest { id, exec_id }),
        Method::Create => {
            let bundle = who.bundle.to_owned();
            Call::Create(CreateTaskRequest { id, bundle, ..Default::default() })
        }
        Method::Start => Call::Start(StartRequest { id, exec_id }),
        Method::Delete => Call::Delete(DeleteRequest { id, exec_id }),
        Method::Pids => Call::Pids(PidsRequest { id }),
        Method::Pause => Call::Pause(PauseRequest { id }),
        Method::Resume => Call::Resume(ResumeRequest { id }),
        Method::Checkpoint => {
            let path = "/tmp/checkpoint".to_owned();
            Call::Checkpoint(CheckpointTaskRequest { id, path, options: None })
        }
        Method::Kill => Call::Kill(KillRequest { id, exec_id, signal: HARMLESS, all: false }),
        Method::Exec => {
            let process = r#"{"args":["/bin/sleep","1000"],"cwd":"/","user":{"uid":0,"gid":0}}"#;
            let type_url = "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned();
            let spec = Some(Any { type_url, value: process.into() });
            Call::Exec(ExecProcessRequest { id, exec_id, spec, ..Default::default() })
        }
        Method::ResizePty => {
            Call::ResizePty(ResizePtyRequest { id, exec_id, width: 80, height: 24 })
        }
        Method::CloseIO => Call::CloseIO(CloseIORequest { id, exec_id, stdin: true }),
        Method::Update => {
            let type_url =
                "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".to_owned();
            let value = br#"{"pids":{"limit":50}}"#.to_vec();
            let resources = Some(Any { type_url, value });
            Call::Update(UpdateTaskRequest { id, resources, ..Default::default() })
        }
        Method::Wait => Call::Wait(WaitRequest { id, exec_id }),
        Method::Stats => Call::Stats(StatsRequest { id }),
        Method::Connect => Call::Connect(ConnectRequest { id }),
        Method::Shutdown => Call::Shutdown(ShutdownRequest { id, now: false }),
    }
}

/// The steps to each state, and the calls that leave the state: they are not tried in it.
const STATES: [(&str, &[Method], &[Method]); 5] = {
    use Method::*;
    [
        ("none", &[], &[Create, Shutdown]),
        ("created", &[Create], &[Start, Delete, Wait]),
        ("running", &[Create, Start], &[Pause, Wait]),
        ("paused", &[Create, Start, Pause], &[Resume, Wait]),
        ("stopped", &[Create, Start], &[Delete]),
    ]
};

/// Why an answer differs from that of containerd's own shim.
fn differs(state: &str, method: Method, exec: &str) -> Option<(Code, &'static str)> {
    use Method::*;
    Some(match (state, method, exec) {
        ("none", ..) => return None,
        (_, Create, _) => (Code::AlreadyExists, "the first container must not be touched"),
        (_, Exec, "") => (Code::InvalidArgument, "an exec needs an ID"),
        ("stopped", Start, "e9") => (Code::NotFound, "nobody has added the exec"),
        ("running" | "paused", Checkpoint, _) => (Code::Unimplemented, "refused by name"),
        _ => return None,
    })
}

/// Whether a call is tried for an exec: `e1`, which can also be started, deleted and waited for, or `e9`, which nobody has added.
fn is_asked(method: Method, exec: &str) -> bool {
    use Method::*;
    match exec {
        "" => true,
        "e1" => matches!(method, State | Kill | ResizePty | CloseIO | Exec),
        _ => matches!(method, State | Kill | ResizePty | CloseIO | Start | Delete | Wait),
    }
}

fn code(answer: &Answer) -> String {
    answer.as_ref().map_or_else(|(code, _)| format!("{code:?}"), |_| "ok".to_owned())
}

/// Brings a new shim into the state, with an exec `e1` that was added and not started.
#[track_caller]
fn shim_in(runtime: &str, state: &str, steps: &[Method]) -> Shim {
    let mut shim = Shim::start(runtime, &["sleep", "1000"]);
    let (id, bundle) = (shim.id.clone(), shim.bundle.str().to_owned());
    let who = Who { id: &id, exec: "", bundle: &bundle };
    for step in steps {
        shim.call(&call(*step, who)).unwrap_or_else(|e| panic!("{runtime} {state} {step}: {e:?}"));
        if *step == Method::Start || (*step == Method::Create && steps.len() == 1) {
            let exec = call(Method::Exec, Who { exec: "e1", ..who });
            shim.call(&exec).unwrap_or_else(|e| panic!("{runtime} {state} exec: {e:?}"));
        }
    }
    if state == "stopped" {
        let kill = KillRequest { id: id.clone(), signal: 9, ..Default::default() };
        shim.call(&Call::Kill(kill)).expect("kill");
        shim.call(&call(Method::Wait, who)).expect("wait");
    }
    shim
}

/// The answers in one state: each call twice, for the container, its exec, and IDs that nobody has.
#[track_caller]
fn answers(
    runtime: &str,
    state: &str,
    steps: &[Method],
    leave: &[Method],
) -> BTreeMap<String, String> {
    let mut shim = shim_in(runtime, state, steps);
    let (id, bundle) = (shim.id.clone(), shim.bundle.str().to_owned());
    let mut found = BTreeMap::new();
    for (id, exec) in [(id.as_str(), ""), (&id, "e1"), (&id, "e9"), ("nobody", ""), ("../x", "")] {
        let own = id == shim.id;
        for method in Method::ALL {
            let leaves = own && exec.is_empty() && leave.contains(method);
            let creates = *method == Method::Create && !own;
            if leaves || creates || *method == Method::Shutdown || !is_asked(*method, exec) {
                continue;
            }
            for turn in ["first", "again"] {
                let began = Instant::now();
                let answer = shim.call(&call(*method, Who { id, exec, bundle: &bundle }));
                let took = began.elapsed();
                if took > Duration::from_secs(2) {
                    eprintln!("{runtime} {state} {method} {exec:?} took {took:?}: {answer:?}");
                }
                let shown = if own { "own" } else { id };
                let said = match differs(state, *method, exec).filter(|_| own) {
                    Some((wanted, why)) if runtime == RUNTIMES[1] => {
                        assert_eq!(code(&answer), format!("{wanted:?}"), "{state} {method}: {why}");
                        why.to_owned()
                    }
                    Some((_, why)) => why.to_owned(),
                    None => code(&answer),
                };
                found.insert(format!("{state} {method} {shown} {exec:?} {turn}"), said);
            }
        }
    }
    found
}

/// The first container of each shim makes what stays: directories.
#[track_caller]
fn begin() {
    install();
    for runtime in RUNTIMES {
        assert_eq!(life_on(runtime, &[]), (7, true));
    }
}

#[test]
fn vm_each_call_in_each_state_is_answered_as_by_containerds_own_shim() {
    begin();
    let mut wrong = Vec::new();
    for (state, steps, leave) in STATES {
        let before = Census::take();
        let [theirs, ours] = RUNTIMES.map(|runtime| answers(runtime, state, steps, leave));
        assert_eq!(theirs.len(), ours.len());
        let differ = theirs.iter().filter(|(call, said)| ours[*call] != **said);
        wrong
            .extend(differ.map(|(call, said)| format!("{call}: {} instead of {said}", ours[call])));
        before.nothing_left();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn vm_a_life_at_the_socket_has_the_same_events() {
    install();
    let [theirs, ours] = RUNTIMES.map(|runtime| {
        let mut shim = shim_in(runtime, "running", &[Method::Create, Method::Start]);
        let (id, bundle) = (shim.id.clone(), shim.bundle.str().to_owned());
        let who = Who { id: &id, exec: "", bundle: &bundle };
        let mut other = shim.connect();
        // A client that waits holds up nobody.
        let waits = thread::spawn({
            let wait = call(Method::Wait, Who { exec: "e1", ..who });
            move || other.call(&wait)
        });
        shim.call(&call(Method::Start, Who { exec: "e1", ..who })).expect("start the exec");
        let pids = shim.call(&call(Method::Pids, who)).expect("pids");
        let pids = PidsResponse::decode(pids.as_slice()).expect("an answer").processes.len();
        let kill = |exec_id: &str, all| {
            let exec_id = exec_id.to_owned();
            Call::Kill(KillRequest { id: id.clone(), exec_id, signal: 9, all })
        };
        shim.call(&kill("e1", false)).expect("kill the exec");
        let waited = waits.join().expect("the client").expect("an answer");
        let waited = WaitResponse::decode(waited.as_slice()).expect("an answer").exit_status;
        shim.call(&call(Method::Pause, who)).expect("pause");
        shim.call(&call(Method::Resume, who)).expect("resume");
        shim.call(&kill("", true)).expect("kill all");
        let ended = shim.call(&call(Method::Wait, who)).expect("wait");
        let ended = WaitResponse::decode(ended.as_slice()).expect("an answer").exit_status;
        wait_for("the exit is told", || {
            shim.topics().contains(&"/tasks/exit".to_owned()).then_some(())
        });
        shim.call(&call(Method::Delete, who)).expect("delete");
        let topics = [
            "create",
            "start",
            "exec-added",
            "exec-started",
            "exit",
            "paused",
            "resumed",
            "exit",
            "delete",
        ];
        wait_for("the events come", || (shim.topics().len() >= topics.len()).then_some(()));
        assert_eq!(shim.topics(), topics.map(|topic| format!("/tasks/{topic}")), "{runtime}");
        (pids, waited, ended)
    });
    assert_eq!(ours, theirs);
}

#[test]
fn vm_bytes_that_are_no_request_harm_nobody() {
    install();
    let mut shim = shim_in(RUNTIMES[1], "running", &[Method::Create, Method::Start]);
    let id = shim.id.clone();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 65536], &[0; 10], &[0, 0, 0, 1, 0, 0]] {
        shim.connect().write(bytes);
    }
    let who = Who { id: &id, exec: "", bundle: "" };
    for (service, method) in [("a.b", "State"), ("containerd.task.v2.Task", "Nothing")] {
        let answer = shim.connect().request(service, method, Vec::new());
        assert_eq!(code(&answer), "Unimplemented");
    }
    let answer = shim.connect().request("containerd.task.v3.Task", "State", vec![0xff; 9]);
    assert_eq!(code(&answer), "Internal");
    let state = shim.call(&call(Method::State, who)).expect("the state");
    let state = StateResponse::decode(state.as_slice()).expect("an answer");
    assert_eq!(state.status(), Status::Running);
}

/// ctr gives no logger to a terminal, and nerdctl does.
#[test]
fn vm_a_logger_takes_the_output_of_a_terminal() {
    install();
    let logger = "/usr/local/bin/logger-terminal";
    let script = "#!/bin/sh\nexec 5>&-\ncat <&4 > $1.err; cat <&3 > $1.out; echo ended >> $1.err\n";
    fs::write(logger, script).expect("write a logger");
    fs::set_permissions(logger, fs::Permissions::from_mode(0o755)).expect("make it a program");
    for runtime in RUNTIMES {
        let mut shim = shim_in(runtime, "running", &[Method::Create, Method::Start]);
        let id = shim.id.clone();
        let log = format!("{}/log-of-e2", shim.bundle.str());
        let process =
            r#"{"terminal":true,"args":["/bin/echo","hello"],"cwd":"/","user":{"uid":0,"gid":0}}"#;
        let type_url = "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned();
        let spec = Some(Any { type_url, value: process.into() });
        let exec = ExecProcessRequest {
            id: id.clone(),
            exec_id: "e2".to_owned(),
            terminal: true,
            stdout: format!("binary://{logger}?{log}"),
            spec,
            ..Default::default()
        };
        shim.call(&Call::Exec(exec)).expect("add the exec");
        let who = Who { id: &id, exec: "e2", bundle: "" };
        shim.call(&call(Method::Start, who)).expect("start the exec");
        shim.call(&call(Method::Wait, who)).expect("wait");
        wait_for("the logger has the line", || {
            let found = fs::read_to_string(format!("{log}.out")).unwrap_or_default();
            (found == "hello\r\n").then_some(())
        });
        shim.call(&call(Method::Delete, who)).expect("delete");
        if runtime == RUNTIMES[1] {
            let error = fs::read_to_string(format!("{log}.err")).expect("read");
            assert_eq!(error, "ended\n", "the logger has ended before the exec is deleted");
        }
    }
}

/// A life with these mounts as the rootfs: what the program's end says, and whether the mounts are gone after `Delete`.
#[track_caller]
fn life_on(runtime: &str, mounts: &[Mount]) -> (u32, bool) {
    let mut shim = Shim::start(runtime, &["/bin/sh", "-c", "test -e /etc/passwd && exit 7"]);
    let (id, bundle) = (shim.id.clone(), shim.bundle.str().to_owned());
    let create = CreateTaskRequest {
        id: id.clone(),
        bundle: bundle.clone(),
        rootfs: mounts.to_vec(),
        ..Default::default()
    };
    shim.call(&Call::Create(create)).unwrap_or_else(|e| panic!("{runtime}: {e:?}"));
    let who = Who { id: &id, exec: "", bundle: &bundle };
    shim.call(&call(Method::Start, who)).expect("start");
    let ended = shim.call(&call(Method::Wait, who)).expect("wait");
    let ended = WaitResponse::decode(ended.as_slice()).expect("an answer").exit_status;
    shim.call(&call(Method::Delete, who)).expect("delete");
    let table = fs::read_to_string("/proc/self/mounts").expect("the mount table");
    (ended, !table.contains(&bundle))
}

/// An overlay with more layers than fit into a page, as containerd's overlay snapshotter sends it for an image with many layers.
#[test]
fn vm_an_overlay_with_long_options_is_a_rootfs() {
    begin();
    let before = Census::take();
    let dir = TempDir::new("layers");
    let layers: Vec<_> = (0..90)
        .map(|layer| {
            let name = format!("io.containerd.snapshotter.v1.overlayfs/snapshots/{layer}/fs");
            let path = dir.0.join(name);
            fs::create_dir_all(&path).expect("make a layer");
            path.to_str().expect("text").to_owned()
        })
        .collect();
    make_rootfs(layers[89].as_ref());
    let options = vec!["index=off".to_owned(), format!("lowerdir={}", layers.join(":"))];
    assert!(options[1].len() > 4096);
    let mount = Mount {
        r#type: "overlay".to_owned(),
        source: "overlay".to_owned(),
        options,
        ..Default::default()
    };
    let [theirs, ours] = RUNTIMES.map(|runtime| life_on(runtime, std::slice::from_ref(&mount)));
    assert_eq!((theirs, ours), ((7, true), (7, true)));
    drop(dir);
    before.nothing_left();
}

/// Ours alone: the first `start` of a group is slow between its look for a server and its own socket. Without a lock it would take
/// the socket away from the server that another `start` has begun meanwhile.
#[test]
fn vm_two_starts_at_once_begin_one_server() {
    begin();
    let before = Census::take();
    let of_group = |group: &str| {
        let bundle = Bundle::new(&Runtime::sharedroot(), &["sleep", "1000"]);
        bundle.edit(|config| {
            config["annotations"] = json!({ "io.containerd.runc.v2.group": group });
        });
        bundle
    };
    let other = Shim::begin(RUNTIMES[1], of_group("other"), &[]);
    let slow = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=bind:delay_enter=2000000"];
    let (mut one, mut two) = thread::scope(|scope| {
        let one = scope.spawn(|| other.another(of_group("g"), &slow));
        thread::sleep(Duration::from_secs(1));
        let two = other.another(of_group("g"), &[]);
        (one.join().expect("a shim"), two)
    });
    two.is_guest = true;
    let servers = [&mut one, &mut two].map(|shim| {
        let init = shim.create(["", "", ""]);
        shim.begin_process("").expect("Start");
        shim.processes(init)[0]
    });
    assert_eq!(servers[0], servers[1]);
    drop(two);
    drop((one, other));
    before.nothing_left();
}

/// As containerd's snapshotter `blockfile` sends it.
#[test]
fn vm_a_file_on_a_loop_device_is_a_rootfs() {
    begin();
    let before = Census::take();
    let dir = TempDir::new("blockfile");
    make_rootfs(&dir.0.join("tree"));
    let file = dir.0.join("file");
    let file = file.to_str().expect("text");
    let tree = dir.0.join("tree");
    out(&["mke2fs", "-q", "-t", "ext4", "-d", tree.to_str().expect("text"), file, "16M"]);
    let mount = |options: &[&str]| Mount {
        r#type: "ext4".to_owned(),
        source: file.to_owned(),
        options: options.iter().map(|&option| option.to_owned()).collect(),
        ..Default::default()
    };
    for options in [&["loop"][..], &["loop", "ro"]] {
        let [theirs, ours] = RUNTIMES.map(|runtime| life_on(runtime, &[mount(options)]));
        assert_eq!((theirs, ours), ((7, true), (7, true)), "{options:?}");
    }
    wait_for("the loop device is free", || (!out(&["losetup", "-a"]).contains(file)).then_some(()));
    drop(dir);
    before.nothing_left();
}
