//! What the journal and the log say of a container, and what neither says. The guest has systemd and Docker.
//!
//! Guest: --systemd --alone --limit 900 --shim long

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::command::{Cmd, out, unique_name};
use sharedroot_tests::docker::Container;
use sharedroot_tests::lab::{RUN_DIR, TempDir, wait_for};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::said::{Said, only_root_reads, took};
use sharedroot_tests::stack::Image;

const JOURNALD: &str = "/run/systemd/journal/socket";
const UNTIL_TERM: &str = "touch /made; trap exit TERM; sleep 1000 & wait";

/// The journal's messages about a container as docs/operation.md asks for them, the oldest first.
#[track_caller]
fn story(id: &str) -> Vec<Value> {
    out(&["journalctl", "--sync"]);
    let field = format!("SHAREDROOT_CONTAINER={id}");
    let text = out(&["journalctl", "--quiet", "--output=json", "-t", "sharedroot", &field]);
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// That it is told in these words, each message by its priority and its beginning.
#[track_caller]
fn is_told(id: &str, wanted: &[(&str, &str)]) {
    let told = story(id);
    let pairs: Vec<_> = told.iter().map(|m| (text(m, "PRIORITY"), text(m, "MESSAGE"))).collect();
    let alike = |((priority, message), (wanted, begins)): (&(&str, &str), &(&str, &str))| {
        priority == wanted && message.starts_with(begins)
    };
    let all = pairs.len() == wanted.len() && pairs.iter().zip(wanted).all(alike);
    assert!(all, "told is\n{pairs:#?}, wanted\n{wanted:#?}");
}

fn text<'a>(message: &'a Value, field: &str) -> &'a str {
    message[field].as_str().unwrap_or_else(|| panic!("no {field}: {message}"))
}

#[test]
fn vm_the_journal_tells_what_happened() {
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = image.bundle(&runtime, false, &["sh", "-c", UNTIL_TERM]);
    let container = runtime.start(&bundle);
    wait_for("it has begun", || fs::exists(format!("{}/made", bundle.rootfs)).ok()?.then_some(()));
    container.exec(&[], &["true"]).ok();
    container.call("pause", &[]).ok();
    container.call("resume", &[]).ok();
    container.cmd("update", &["--pids-limit", "77"]).run().ok();
    container.exec(&[], &["/no/such"]).fails(255);
    container.call("kill", &["TERM"]).ok();
    container.becomes("stopped");
    container.call("delete", &[]).ok();
    container.cmd("delete", &["--force"]).run().ok();
    assert!(!container.exists());
    is_told(
        &container.id,
        &[
            // Its first container makes the base.
            ("6", "making the base of "),
            ("6", "created: the rootfs is writable: the container has the snapshot private-"),
            ("6", "started"),
            ("6", "exec: process "),
            ("6", "paused: 2 changes were written back"),
            ("6", "resumed"),
            ("6", "limits updated"),
            (
                "3",
                &format!("exec {}: exec: \"/no/such\": stat /no/such: no such file", container.id),
            ),
            ("6", "signal TERM"),
            ("6", "deleted: "),
        ],
    );
    let last = story(&container.id).pop().expect("messages");
    assert_eq!(text(&last, "SHAREDROOT_COMMAND"), "delete");
    let message = text(&last, "MESSAGE");
    assert_eq!(message, "deleted: nothing to write back", "that was done by the pause");
}

#[test]
fn vm_the_journal_tells_why_the_root_is_not_shared() {
    let runtime = Runtime::sharedroot();
    let container = runtime.create(&Bundle::new(&runtime, &["true"]));
    is_told(
        &container.id,
        &[(
            "6",
            "created: the container runs on the engine's rootfs, not shared: no overlay is mou",
        )],
    );
    // In the log file, too, where it always was; the rest is not.
    let (bundle, dir) = (Bundle::new(&runtime, &["true"]), TempDir::new("log"));
    let (log, id) = (format!("{}/log", dir.str()), unique_name("given"));
    let words = ["--log", &log, "run", "--bundle", bundle.str(), &id];
    runtime.cmd(&words).run().ok();
    is_told(&id, &[("6", "created: "), ("6", "started"), ("6", "deleted: nothing to write back")]);
    let text = fs::read_to_string(log).expect("read the log");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains(&format!("container {id} runs on the engine's rootfs, not shared")),
        "{text}"
    );
}

/// Docker's journald driver finds a container's output by a field; ours is another.
#[test]
fn vm_dockers_logs_are_the_containers_own_words() {
    const WORDS: &str =
        "echo said; until [ -e /dev/shm/more ]; do sleep 0.1; done; echo more; sleep 1000";
    let flags = ["--log-driver=journald", "--read-only", "busybox"];
    let container = Container::run(&[&flags[..], &["sh", "-c", WORDS]].concat());
    let logs = || container.call("logs", &[]).ok();
    wait_for("it has said something", || (!logs().is_empty()).then_some(()));
    container.exec(&["true"]);
    let told = story(&container.id);
    let told: Vec<_> = told.iter().map(|message| text(message, "MESSAGE")).collect();
    let created =
        told.iter().position(|m| m.starts_with("created: the rootfs is read-only and sh"));
    let rest = &told[created.unwrap_or_else(|| panic!("{told:?}")) + 1..];
    assert!(rest[0] == "started" && rest[1].starts_with("exec: process"), "{told:?}");
    assert_eq!(logs(), "said");
    let fields = format!("MESSAGE=mistaken\nPRIORITY=6\nCONTAINER_ID_FULL={}\n", container.id);
    Cmd::new("logger").arg("--journald").stdin(&fields).run().ok();
    container.exec(&["touch", "/dev/shm/more"]);
    wait_for("it has said more", || logs().ends_with("more").then_some(()));
    assert_eq!(
        logs(),
        "said\nmistaken\nmore",
        "what has Docker's field is taken for the container's"
    );
}

/// In a container the path of the journal's socket is the image's.
#[test]
fn vm_a_container_gets_no_message() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let path = bundle.path().join("rootfs").join(&JOURNALD[1..]);
    fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
    let listener = UnixDatagram::bind(&path).expect("listen");
    listener.set_nonblocking(true).expect("set a flag");
    let got = || match listener.recv(&mut [0; 4096]) {
        Ok(size) => Some(size),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("receive: {error}"),
    };
    UnixDatagram::unbound().expect("a socket").send_to(b"7", &path).expect("send");
    assert_eq!(got(), Some(1), "it listens");

    let container = runtime.start(&bundle);
    container.exec(&[], &["true"]).ok();
    container.exec(&[], &["/no/such"]).fails(255);
    // Before `start`, and after it, when the container's first process alone knows.
    bundle.edit(|config| config["process"]["args"] = json!(["/no/such"]));
    let create = |id: &str| runtime.cmd(&["--debug", "create", "--bundle", bundle.str(), id]).run();
    create(&unique_name("refused")).fails(1);
    let program = bundle.path().join("rootfs/bin/garbage");
    fs::write(&program, "\0").expect("write a program");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).expect("chmod a program");
    bundle.edit(|config| config["process"]["args"] = json!(["/bin/garbage"]));
    let garbage = runtime.container(unique_name("garbage"));
    create(&garbage.id).ok();
    garbage.call("start", &[]);
    garbage.becomes("stopped");
    assert_eq!(got(), None, "a container got a message");
    assert!(story(&garbage.id).len() > 2, "the host's journal got them");
}

/// journald, which holds its socket and reads nothing. Dropping it lets journald go on.
struct Stopped;

impl Stopped {
    #[track_caller]
    fn new() -> Self {
        Self::signal("STOP");
        Self
    }

    fn signal(name: &str) {
        out(&["systemctl", "kill", "--signal", name, "systemd-journald.service"]);
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        Self::signal("CONT");
    }
}

#[test]
fn vm_a_journal_that_does_not_answer_holds_nobody_up() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["true"]);
    let stopped = Stopped::new();
    // Each socket has a bound of its own, too.
    let mut full = Vec::new();
    loop {
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.set_nonblocking(true).expect("set a flag");
        if socket.send_to(b"MESSAGE=full\n", JOURNALD).is_err() {
            break;
        }
        while socket.send_to(b"MESSAGE=full\n", JOURNALD).is_ok() {}
        full.push(socket);
    }
    let id = unique_name("full");
    runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run().ok();
    drop((stopped, full));
    is_told(&id, &[]);
}

#[test]
fn vm_no_secret_is_said() {
    let (mut said, image) = (Said::new(), Image::new());
    let secret = said.secret.clone();
    let env = format!("TOLD={secret}");
    for readonly in [true, false] {
        let bundle = image.bundle(&said.runtime, readonly, &["sh", "-c", "sleep 1000"]);
        said.furnish(&bundle);
        let id = unique_name("secret");
        said.call(&["create", "--bundle", bundle.str(), &id]).ok();
        only_root_reads(&said.secret, &[RUN_DIR, said.runtime.root()]);
        said.call(&["start", &id]).ok();
        said.call(&["exec", "--env", &env, &id, "true", &secret]).ok();
        said.call(&["exec", "--env", &env, "--detach", &id, "true", &secret]);
        let missing = said.call(&["exec", "--env", &env, &id, "/no/such", &secret]).fails(255);
        assert!(missing.contains("/no/such"), "what it needs to say: {missing}");
        let process = said.dir.0.join("process.json");
        let words = json!({ "cwd": "/", "args": ["true", secret], "env": [env], "user": { "uid": 0, "gid": 0 } });
        fs::write(&process, words.to_string()).expect("write a process");
        said.call(&["exec", "--process", process.to_str().expect("ASCII"), &id]).ok();
        fs::write(
            &process,
            words.to_string().replace(&format!("[\"{env}\"]"), &format!("\"{env}\"")),
        )
        .expect("write a process");
        let wrong =
            said.call(&["exec", "--process", process.to_str().expect("ASCII"), &id]).fails(255);
        assert!(wrong.contains("env: invalid type: string, expected"), "{wrong}");
        said.call(&["kill", &id, "KILL"]).ok();
        wait_for("it has ended", || {
            said.runtime.cmd(&["delete", &id]).run().status.eq(&0).then_some(())
        });
    }
    let log = said.has_no_secret();
    for word in ["the engine begins", "the engine is at line", "took", "\"msg\":\"exec: process"] {
        assert!(log.contains(word), "{word:?} is not in the log:\n{log}");
    }
}

/// journald looks at the command line of who sends, and an engine that takes our place has a command line of its own by then.
#[test]
fn vm_an_engines_exec_tells_no_secret() {
    let (runtime, image) = (Runtime::with_engine("runc"), Image::new());
    let secret = unique_name("hunter2");
    let bundle = image.bundle(&runtime, true, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    let env = format!("TOLD={secret}");
    (0..10).for_each(|_| drop(container.exec(&["--env", &env], &["true", &secret]).ok()));
    container.call("kill", &["KILL"]).ok();
    out(&["journalctl", "--sync"]);
    let text = out(&["journalctl", "--quiet", "--output=json"]);
    assert!(text.contains("handed to /usr/"), "what it is told of");
    let line = text.lines().find(|line| line.contains(&secret));
    assert!(line.is_none(), "{line:?}");
}

/// Words that an error has, and the change of a configuration that is to blame.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Value));

/// What fails says why, without what is near it.
#[test]
fn vm_no_secret_is_in_an_error() {
    let mut said = Said::new();
    let secret = said.secret.clone();
    let changes: [Change<'_>; 11] = [
        ("/no/such", &|c| c["process"]["args"][0] = json!("/no/such")),
        ("process.env: invalid type: string", &|c| c["process"]["env"] = json!(secret)),
        ("process.env[0]: invalid type: map", &|c| c["process"]["env"] = json!([{ "A": secret }])),
        ("process.args: invalid type: string", &|c| c["process"]["args"] = json!(secret)),
        ("process: invalid type: string", &|c| c["process"] = json!(secret)),
        ("process.env", &|c| c["process"]["env"][0] = json!(format!("A={secret}\0"))),
        ("process.args[1]", &|c| c["process"]["args"][1] = json!(format!("{secret}\0"))),
        ("annotations: invalid type: string", &|c| c["annotations"] = json!(secret)),
        ("hooks.poststop: invalid type", &|c| c["hooks"]["poststop"] = json!(secret)),
        ("hook command exited with non-zero exit code: 1", &|c| {
            c["hooks"]["prestart"][0]["path"] = json!("/usr/bin/false")
        }),
        ("/no/hook", &|c| c["hooks"]["createRuntime"][0]["path"] = json!("/no/hook")),
    ];
    for (word, change) in changes {
        let bundle = Bundle::new(&said.runtime, &["true"]);
        said.furnish(&bundle);
        bundle.edit(change);
        let _ = fs::remove_file(said.log());
        let refused = said.call(&["create", "--bundle", bundle.str(), &unique_name("wrong")]);
        assert_ne!(refused.status, 0, "{word}: {refused}");
        let log = said.has_no_secret();
        let errors: Vec<_> = log.lines().filter(|l| l.contains("\"level\":\"error\"")).collect();
        assert_eq!(errors.len(), 1, "{word}: {log}");
        assert!(errors[0].contains(word) || refused.stderr.contains(word), "{word}: {refused}");
    }
    let bundle = Bundle::new(&said.runtime, &["true"]);
    said.furnish(&bundle);
    let text = fs::read_to_string(bundle.config_path()).expect("read config.json");
    let end = text.find(&secret).expect("the secret") + secret.len();
    fs::write(bundle.config_path(), &text[..end]).expect("cut it short");
    said.call(&["create", "--bundle", bundle.str(), "short"]).fails(1);
    said.has_no_secret();
}

/// `--debug` says how long each step took; nothing does without.
#[test]
fn vm_the_steps_have_their_time() {
    let (mut said, image) = (Said::new(), Image::new());
    for (readonly, steps) in [
        (
            true,
            &["make the base", "activate and mount the base", "bind the base in a mount names"][..],
        ),
        (false, &["take the snapshot", "mount the snapshot"]),
    ] {
        let bundle = image.bundle(&said.runtime, readonly, &["sleep", "1000"]);
        let id = unique_name("steps");
        let _ = fs::remove_file(said.log());
        said.call(&["create", "--bundle", bundle.str(), &id]).ok();
        let log = fs::read_to_string(said.log()).expect("read the log");
        let all = [
            "load the bundle",
            "find the image",
            "prepare the rootfs",
            "write the record",
            "the engine",
            "create",
        ];
        for step in all.iter().chain(steps) {
            assert!(took(&log, step) > 0.0, "{step}: {log}");
        }
        let parts = ["load the bundle", "find the image", "prepare the rootfs", "the engine"];
        let sum: f64 = parts.iter().map(|step| took(&log, step)).sum();
        assert!(sum <= took(&log, "create"), "the whole is more than its parts: {log}");
        println!("{log}");
        for (verb, steps) in
            [("start", &["the engine"][..]), ("delete", &["take the rootfs and the record away"])]
        {
            let _ = fs::remove_file(said.log());
            let words = if verb == "delete" { vec![verb, "--force", &id] } else { vec![verb, &id] };
            said.call(&words).ok();
            let log = fs::read_to_string(said.log()).expect("read the log");
            steps.iter().chain(&[verb]).for_each(|step| assert!(took(&log, step) > 0.0, "{log}"));
            println!("{log}");
        }
    }
    let bundle = image.bundle(&said.runtime, true, &["true"]);
    let log = said.log();
    fs::remove_file(&log).expect("remove the log");
    let words = ["--log", log.to_str().expect("ASCII"), "run", "--bundle", bundle.str(), "quiet"];
    said.runtime.cmd(&words).run().ok();
    assert_eq!(fs::read_to_string(log).expect("read the log"), "");
}
