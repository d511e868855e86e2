//! containerd's shim with another OCI runtime as its engine, which is a program of its own, beside containerd's own shim with the
//! same program.
//!
//! Guest: --long --with shim --alone --limit 900 --takes 90

use sharedroot_task::messages::Any;
use sharedroot_task::messages::options::runc;
use sharedroot_task::messages::task::CreateTaskRequest;
use sharedroot_task::{Call, Code};
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Cmd, out};
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::Replaced;
use sharedroot_tests::shim::{
    Events, IMAGE, RUNTIMES, Rows, STATE_ROOT, Task, beside, ctr, install_program, told,
};
use sharedroot_tests::shim_socket::Shim;

const ENGINES: [&str; 2] = ["crun", "runc"];
const OURS: &str = RUNTIMES[1];

/// Has sharedroot take the engine for new containers.
#[track_caller]
fn configured(engine: &str) -> Replaced {
    Replaced::with("/etc/sharedroot/config.toml", &format!("engine = \"{engine}\"\n"))
}

/// Does the same with both shims and the same program below them.
#[track_caller]
fn beside_with(engine: &str, work: impl Fn(&str, &[&str]) -> Rows) {
    let _config = configured(engine);
    beside(|runtime| {
        let binary: &[&str] = if runtime == OURS { &[] } else { &["--runc-binary", engine] };
        work(runtime, binary)
    });
}

#[track_caller]
fn is_of(task: &Task, engine: &str) {
    let root = root_of(task.pid());
    assert!(root.is_on_dm() && root.fstype == "ext4", "{engine}: {root:?}");
    let words = ["--root", STATE_ROOT, "state", &task.0];
    let state = Cmd::new("sharedroot").args(&words).run().json();
    assert_eq!(state["status"], "running", "{engine}");
    let delegates = out(&["find", "/run/sharedroot/delegates", "-name", &task.0]);
    assert!(!delegates.is_empty(), "{engine} has the container: {delegates}");
}

#[test]
fn vm_a_life_with_another_runtime_is_as_with_containerds_own_shim() {
    for engine in ENGINES {
        beside_with(engine, |runtime, binary| {
            let mut rows = Rows::new();
            for kind in [&["--read-only"][..], &[]] {
                let events = Events::listen();
                let task = Task::run(runtime, &[binary, kind].concat(), &["sleep", "1000"]);
                if runtime == OURS {
                    is_of(&task, engine);
                }
                let mut row =
                    |what: &str, said| rows.push((format!("{engine} {kind:?} {what}"), said));
                let id = task.0.as_str();
                let call = |words: &[&str]| told(&ctr(&[&["task"], words].concat()), &task);
                let script = "echo in; echo err >&2; exit 3";
                row("exec", call(&["exec", "--exec-id", "e1", id, "sh", "-c", script]));
                row(
                    "exec of nothing",
                    ctr(&["task", "exec", "--exec-id", "n", id, "/no/such"]).status.to_string(),
                );
                let metrics = ctr(&["task", "metrics", id]).ok();
                let names = metrics.lines().filter_map(|line| line.split_whitespace().next());
                let names: Vec<_> = names.filter(|name| name.contains('.')).collect();
                row("metrics", format!("{names:?}"));
                let processes = ctr(&["task", "ps", id]).ok();
                row(
                    "processes",
                    processes.lines().filter(|line| !line.is_empty()).count().to_string(),
                );
                row("pause", call(&["pause", id]));
                row("paused", format!("{:?}", task.status()));
                row("resume", call(&["resume", id]));
                row("resumed", format!("{:?}", task.status()));
                row("kill", call(&["kill", "-s", "SIGKILL", "-a", id]));
                task.becomes(Some("STOPPED"));
                row("rm", call(&["rm", id]));
                task.becomes(None);
                row("events", format!("{:#?}", events.of(&task, 10)));
            }
            rows
        });
    }
}

#[test]
fn vm_streams_terminals_and_failures_with_another_runtime() {
    for engine in ENGINES {
        beside_with(engine, |runtime, binary| {
            let run = |stdin: &str, command: &[&str]| {
                let task = Task::named();
                let head = ["run", "--rm", "--read-only", "--runtime", runtime];
                let words = [&head[..], binary, &[IMAGE, &task.0], command].concat();
                told(&Cmd::new("ctr").args(&words).stdin(stdin).run(), &task)
            };
            let failed = Task::named();
            let words = ["run", "-d", "--runtime", runtime];
            let no_program = [IMAGE, &failed.0, "/no/such/program"];
            let no_program = ctr(&[&words[..], binary, &no_program].concat());
            let task = Task::run(runtime, &[binary, &["--read-only"]].concat(), &["sleep", "1000"]);
            let inner = format!(
                "stty rows 33 cols 77; ctr task exec -t --exec-id e1 {} sh -c 'sleep 1; stty size; tty; exit 5'",
                task.0
            );
            let terminal = Cmd::new("script").args(&["-qec", &inner, "/dev/null"]).run();
            vec![
                (
                    "both outputs".to_owned(),
                    run("", &["sh", "-c", "echo out; echo err >&2; exit 7"]),
                ),
                ("input".to_owned(), run("of stdin\n", &["head", "-n", "1"])),
                ("much".to_owned(), run("", &["sh", "-c", "seq 20000 | sha256sum"])),
                ("terminal".to_owned(), told(&terminal, &task)),
                (
                    "no program".to_owned(),
                    format!(
                        "{} {}",
                        no_program.status,
                        no_program.stderr.contains("/no/such/program")
                    ),
                ),
                ("no task".to_owned(), format!("{:?}", failed.status())),
            ]
        });
    }
}

/// The option of containerd's own shim that names the runtime. ctr passes it to no other shim.
#[test]
fn vm_the_option_names_the_runtime_of_one_container() {
    install_program();
    let create = |name: &str| {
        let mut shim = Shim::start(OURS, &["sleep", "1000"]);
        let option = runc::Options { binary_name: name.to_owned(), ..Default::default() };
        let (id, bundle) = (shim.id.clone(), shim.bundle.str().to_owned());
        let options = Some(Any::of(&option));
        let create = CreateTaskRequest { id, bundle, options, ..Default::default() };
        let answer = shim.call(&Call::Create(create));
        (shim, answer)
    };
    drop(create("/usr/bin/crun"));
    let before = Census::take();
    for (name, is_delegate) in [("crun", true), ("/usr/local/bin/sharedroot", false)] {
        let (mut shim, answer) = create(name);
        answer.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        shim.begin_process("").expect("Start");
        let found = out(&["find", "/run/sharedroot/delegates", "-name", &shim.id]);
        assert_eq!(!found.is_empty(), is_delegate, "{name}");
    }
    let (shim, answer) = create("docker-runc");
    let (code, said) = answer.expect_err("no such engine");
    assert!(code == Code::Unknown && said.contains("\"docker-runc\" is not an engine"), "{said}");
    drop(shim);
    before.nothing_left();
}
