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
    let option = runc::Options { binary_name: "no-engine".to_owned(), ..Default::default() };
    let mount = Mount {
        r#type: "erofs".to_owned(),
        options: vec!["uidmap=0:1:2".to_owned()],
        ..Default::default()
    };
    let refused = [
        (
            Code::Unimplemented,
            "npipe://",
            CreateTaskRequest { stdout: "npipe:////./pipe/x".to_owned(), ..whole.clone() },
        ),
        (
            Code::Unknown,
            "\"no-engine\" is not an engine",
            CreateTaskRequest { options: Some(Any::of(&option)), ..whole.clone() },
        ),
        (Code::Unimplemented, "uidmap", CreateTaskRequest { rootfs: vec![mount], ..whole.clone() }),
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
    let request = CreateTaskRequest { stdout: "npipe:///x".to_owned(), ..create(&shim) };
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

/// A logger that is a script. It is written by another process: a file that a process has open for writing cannot be executed,
/// and a process that another test forks may have it.
fn logger(shim: &Shim, script: &str) -> String {
    let program = shim.dir.join("logger");
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    format!("binary://{}", program.display())
}

#[test]
fn a_logger_gets_its_descriptors_and_words_and_is_killed_with_a_create_that_fails() {
    let shim = Shim::start("logger");
    let mut client = shim.connect();
    let log = shim.dir.join("log");
    // The end of descriptor 5 says that the logger is ready.
    let script = format!(
        "{{ pwd; env | grep ^CONTAINER | sort; echo \"$@\"; echo $$; ls /proc/$$/fd; }} > {}; exec 5>&-; cat <&3; \
         trap '' TERM; while :; do sleep 0.1; done",
        log.display()
    );
    let stdout = format!("{}?a=b+c&d=%2F", logger(&shim, &script));
    // The configuration has no version, so there is no container.
    let (_, text) = client.code(&Call::Create(CreateTaskRequest { stdout, ..create(&shim) }));
    assert!(!text.contains("logger"), "{text}");
    let said = fs::read_to_string(&log).unwrap();
    let mut lines = said.lines();
    let mut head = || lines.next().unwrap().to_owned();
    assert_eq!(head(), shim.bundle());
    assert_eq!([head(), head()], ["CONTAINER_ID=c1", "CONTAINER_NAMESPACE=default"]);
    assert_eq!(head(), "a b c d /");
    let pid = head();
    // The shell has its script open at a number of its own choice, 10 or more.
    let open: Vec<_> = lines.filter(|number| number.len() == 1).collect();
    assert_eq!(open, ["0", "1", "2", "3", "4", "5"]);
    assert!(!Path::new("/proc").join(pid).exists(), "the logger is left");
}

#[test]
fn a_logger_that_is_not_ready_or_not_there_is_named() {
    let shim = Shim::start("no-logger");
    let mut client = shim.connect();
    let mut said = |stdout: String| {
        client.code(&Call::Create(CreateTaskRequest { stdout, ..create(&shim) })).1
    };
    let text = said("binary:///no/such/logger".to_owned());
    assert!(text.contains("/no/such/logger: No such file"), "{text}");
    let ends = logger(&shim, "exit 0");
    // The end of the pipe counts as ready with `binary://`, as with containerd's own shim.
    assert!(!said(ends.clone()).contains("logger"));
    let text = said(ends.replace("binary:", "binary-v2:"));
    assert!(text.contains("ended before it was ready"), "{text}");
}
