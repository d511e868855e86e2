//! Which signals are blocked and which are ignored where a hook, a program or an `exec` begins, and in whose mount namespace hooks
//! run: beside runc. A foreground `run` itself blocks nearly all signals while the container has nobody who attends it.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use sharedroot_tests::attack::{Target, bind, targets};
use sharedroot_tests::command::{Cmd, Output, unique_name};
use sharedroot_tests::lab::{TempDir, only_in_lab};
use sharedroot_tests::runtime::Runtime;

const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// What the caller blocks and ignores, among it real-time signals.
const CALLERS: [(&[u32], &[u32]); 2] = [(&[], &[]), (&[10, 15, 17, 34, 40, 64], &[1, 2, 3, 12])];

/// Two signals of the C library's own, which posix_spawn(3) of glibc ignores in each child.
const C_LIBRARYS: u64 = 0b11 << 31;

/// The bits of signals as `/proc/PID/status` has them.
fn bits(signals: &[u32]) -> u64 {
    signals.iter().map(|signal| 1 << (signal - 1)).sum()
}

/// Has a shell write what a process begins with into the file `name` of `said`, which has the same path inside and outside.
fn look(said: &TempDir, name: &str) -> String {
    let host = fs::read_link("/proc/self/ns/mnt").expect("the host's mount namespace");
    format!(
        "{{ grep -E '^Sig(Blk|Ign)' /proc/self/status
            [ \"$(readlink /proc/self/ns/mnt)\" = '{}' ] && echo on the host; }} > {}/{name}; :",
        host.display(),
        said.str()
    )
}

/// A bundle each of whose hooks looks (by busybox: the shell of Debian unblocks all signals), and whose program looks and goes on with `then`.
fn prepare(target: &Target, said: &TempDir, then: &str) {
    target.edit(|config| {
        config["mounts"]
            .as_array_mut()
            .expect("mounts")
            .retain(|mount| mount["destination"] != said.str());
        bind(config, said.str(), said.str());
        for kind in HOOKS {
            let args = ["sh", "-c", &look(said, kind)];
            let path = json!("PATH=/usr/sbin:/usr/bin:/sbin:/bin");
            config["hooks"][kind] =
                json!([{ "path": "/bin/busybox", "args": args, "env": [path] }]);
        }
        let program = format!("{}; {then}", look(said, "program"));
        config["process"]["args"] = json!(["sh", "-c", program]);
    });
}

/// What one process began with.
#[derive(Debug, PartialEq)]
struct Began {
    what: String,
    blocked: u64,
    ignored: u64,
    on_the_host: bool,
    callers: (u64, u64),
}

/// What was said.
fn found(of: &str, (blocked, ignored): (&[u32], &[u32]), said: &TempDir, found: &mut Vec<Began>) {
    for name in HOOKS.into_iter().chain(["program", "exec"]) {
        let path = said.0.join(name);
        if name == "exec" && !path.exists() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{of} {name}: {e}"));
        let number = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            u64::from_str_radix(line.expect("a line of signals").trim(), 16).expect("a number")
        };
        found.push(Began {
            what: format!("{of} {name}"),
            blocked: number("SigBlk:"),
            ignored: number("SigIgn:") & !C_LIBRARYS,
            on_the_host: text.contains("on the host"),
            callers: (bits(blocked), bits(ignored)),
        });
        fs::remove_file(path).expect("remove what was said");
    }
}

fn all(runtime: &Runtime) -> Vec<Began> {
    let mut began = Vec::new();
    let change = |root: &std::path::Path| {
        let _ = symlink("busybox", root.join("bin/readlink"));
    };
    for target in targets(runtime, &[], change) {
        let said = TempDir::new("said");
        for callers in CALLERS {
            let call = |words: &[&str]| -> Output {
                let flag = |name, signals: &[u32]| {
                    let signals: Vec<_> = signals.iter().map(u32::to_string).collect();
                    format!("--{name}-signal={}", signals.join(","))
                };
                let mut env = Cmd::new("env");
                for (name, signals) in [("block", callers.0), ("ignore", callers.1)] {
                    if !signals.is_empty() {
                        env = env.arg(&flag(name, signals));
                    }
                }
                env.args(&[runtime.program(), "--root", runtime.root()]).args(words).run()
            };
            let of = |verb: &str| format!("{} {callers:?} {verb}", target.kind);
            prepare(&target, &said, "exit 3");
            let ended = call(&["run", "--bundle", target.str(), &unique_name("front")]);
            assert_eq!(ended.status, 3, "{}: {ended}", of("run"));
            found(&of("run"), callers, &said, &mut began);

            prepare(&target, &said, "exec sleep 1000");
            let id = unique_name("back");
            for first in [&["run", "--detach"][..], &["create"]] {
                call(&[first, &["--bundle", target.str(), &id]].concat()).ok();
                if first == ["create"] {
                    call(&["start", &id]).ok();
                }
                call(&["exec", &id, "sh", "-c", &look(&said, "exec")]).ok();
                call(&["delete", "--force", &id]).ok();
                found(&of(first.join(" ").as_str()), callers, &said, &mut began);
            }
        }
    }
    began
}

#[test]
fn vm_hooks_and_programs_begin_with_the_signals_of_their_caller() {
    only_in_lab();
    let [runcs, ours] = [Runtime::runc(), Runtime::sharedroot()].map(|runtime| all(&runtime));
    assert_eq!(runcs.len(), ours.len());
    for (runcs, ours) in runcs.iter().zip(&ours) {
        assert_eq!((&ours.what, ours.on_the_host), (&runcs.what, runcs.on_the_host));
        // The runtime of Go unblocks what it needs, and knows of no mask where it starts a hook. `delete` of runc leaves SIGHUP and
        // SIGINT ignored.
        let (blocked, ignored) = ours.callers;
        let others = (runcs.blocked & !blocked, runcs.ignored & !ignored);
        assert_eq!(
            (ours.blocked, ours.ignored, others),
            (blocked, 0, (0, 0)),
            "{ours:x?} {runcs:x?}"
        );
    }
    println!("{} processes: {:x?}", ours.len(), ours.last());
}
