//! The server at its socket, as containerd calls it: calls for containers that are not there, requests that are refused, bytes
//! that are no request, and the end. Nothing here makes a container: that is for the guests of the lab.

mod groups;
mod server;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use prost::Message;
use sharedroot_task::messages::Any;
use sharedroot_task::messages::options::runc;
use sharedroot_task::messages::task::*;
use sharedroot_task::{Call, Code};

use server::{Shim, create, within};

#[test]
fn calls_for_a_container_that_is_not_there_are_refused() {
    let shim = Shim::start("missing");
    let mut client = shim.connect();
    let id = || "c1".to_owned();
    let calls = [
        Call::State(StateRequest { id: id(), ..Default::default() }),
        Call::Start(StartRequest { id: id(), ..Default::default() }),
        Call::Delete(DeleteRequest { id: id(), ..Default::default() }),
        Call::Pids(PidsRequest { id: id() }),
        Call::Pause(PauseRequest { id: id() }),
        Call::Resume(ResumeRequest { id: id() }),
        Call::Kill(KillRequest { id: id(), signal: 9, ..Default::default() }),
        Call::Exec(ExecProcessRequest { id: id(), ..Default::default() }),
        Call::Wait(WaitRequest { id: id(), ..Default::default() }),
        Call::Stats(StatsRequest { id: id() }),
    ];
    for call in calls.iter().chain(&calls) {
        assert_eq!(client.code(call).0, Code::NotFound, "{call:?}");
    }
    let answer = client.call(&Call::Connect(ConnectRequest { id: id() })).unwrap();
    let answer = ConnectResponse::decode(answer.as_slice()).unwrap();
    assert_eq!((answer.shim_pid, answer.task_pid), (shim.child.id(), 0));
    let other = client.request("a.b", "State", Vec::new()).unwrap_err();
    assert_eq!(Code::of(other.code), Code::Unimplemented);
}

#[test]
fn a_create_that_cannot_be_meant_or_done_is_refused_by_name() {
    let shim = Shim::start("create");
    let mut client = shim.connect();
    let whole = create(&shim);
    let option = runc::Options { binary_name: "crun".to_owned(), ..Default::default() };
    let mount = Mount {
        r#type: "erofs".to_owned(),
        options: vec!["loop".to_owned()],
        ..Default::default()
    };
    let refused = [
        (
            Code::Unimplemented,
            "binary://",
            CreateTaskRequest { stdout: "binary:///x".to_owned(), ..whole.clone() },
        ),
        (
            Code::Unimplemented,
            "BinaryName",
            CreateTaskRequest { options: Some(Any::of(&option)), ..whole.clone() },
        ),
        (Code::Unimplemented, "loop", CreateTaskRequest { rootfs: vec![mount], ..whole.clone() }),
        (
            Code::Unimplemented,
            "checkpoint",
            CreateTaskRequest { checkpoint: "/x".to_owned(), ..whole.clone() },
        ),
        (
            Code::InvalidArgument,
            "../c",
            CreateTaskRequest { id: "../c".to_owned(), ..whole.clone() },
        ),
        (
            Code::InvalidArgument,
            "absolute",
            CreateTaskRequest { stdin: "x".to_owned(), ..whole.clone() },
        ),
        (
            Code::Unknown,
            "/no/such",
            CreateTaskRequest { bundle: "/no/such".to_owned(), ..whole.clone() },
        ),
        (Code::Unknown, "/no/such", CreateTaskRequest { stdout: "/no/such".to_owned(), ..whole }),
    ];
    for (code, named, request) in refused {
        let (found, text) = client.code(&Call::Create(request));
        assert_eq!(found, code, "{text}");
        assert!(text.contains(named), "{text}");
    }
    let state = StateRequest { id: "c1".to_owned(), ..Default::default() };
    assert_eq!(client.code(&Call::State(state)).0, Code::NotFound);
}

#[test]
fn bytes_that_are_no_request_end_no_other_client() {
    let shim = Shim::start("garbage");
    let mut client = shim.connect();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0, 0, 0, 1], &[]] {
        shim.connect().stream.write_all(bytes).unwrap();
    }
    let state = Call::State(StateRequest { id: "c1".to_owned(), ..Default::default() });
    assert_eq!(client.code(&state).0, Code::NotFound);
}

#[test]
fn a_killed_spawner_is_replaced() {
    let shim = Shim::start("spawner");
    let mut client = shim.connect();
    let spawner = shim.spawner(&mut client);
    let pid = rustix::process::Pid::from_raw(spawner).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    within("there is another spawner", || shim.child().is_some_and(|now| now != spawner));
    let request = CreateTaskRequest { stdout: "binary:///x".to_owned(), ..create(&shim) };
    let (code, text) = client.code(&Call::Create(request));
    assert_eq!(code, Code::Unimplemented, "{text}");
}

#[test]
fn a_shutdown_ends_both_processes_and_removes_the_socket() {
    let mut shim = Shim::start("shutdown");
    let mut client = shim.connect();
    let spawner = shim.spawner(&mut client);
    client.shut_down("c1");
    within("the server ends", || shim.child.try_wait().unwrap().is_some());
    assert!(shim.child.wait().unwrap().success());
    assert!(!shim.dir.join("socket").exists());
    let spawner = format!("/proc/{spawner}/exe");
    within("the spawner ends", || fs::read_link(Path::new(&spawner)).is_err());
}

#[test]
fn what_containerd_would_not_ask_for_is_refused_with_one_line() {
    for (words, named) in [
        (&["-namespace", "default", "-id", "../x", "start"][..], "-id"),
        (&["-namespace", "default", "-id", "c1", "stop"], "stop"),
        (&["-id", "c1", "start"], "namespace"),
        (&["-namespace", "default", "-id", "c1", "start"], "TTRPC_ADDRESS"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_containerd-shim-sharedroot-v2"))
            .args(words)
            .env_remove("TTRPC_ADDRESS")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{words:?}: {text}");
        assert!(text.contains(named) && text.lines().count() == 1, "{words:?}: {text}");
    }
}
