//! Which signals are blocked and which are ignored where a hook, a program or an `exec` begins, and in whose mount namespace hooks
//! run: beside runc. A foreground `run` itself blocks nearly all signals while the container has nobody who attends it.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use sharedroot_tests::attack::{Target, bind, targets};
use sharedroot_tests::beside::Rows;
use sharedroot_tests::command::{Cmd, Output, unique_name};
use sharedroot_tests::lab::{TempDir, only_in_lab};
use sharedroot_tests::runtime::Runtime;

const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// What the caller blocks and ignores; one of them is a real-time signal.
const CALLERS: [&[&str]; 3] = [
    &[],
    &["--block-signal=10,15,17,40", "--ignore-signal=1,2"],
    &["--block-signal=1,2,3,13,34,64"],
];

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

/// A bundle each of whose hooks looks, and whose program looks and goes on with `then`.
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
            config["hooks"][kind] = json!([{ "path": "/bin/sh", "args": args, "env": [path] }]);
        }
        let program = format!("{}; {then}", look(said, "program"));
        config["process"]["args"] = json!(["sh", "-c", program]);
    });
}

/// What was said, each file a row.
fn rows(of: &str, said: &TempDir, rows: &mut Rows) {
    for name in HOOKS.into_iter().chain(["program", "exec"]) {
        let path = said.0.join(name);
        if name == "exec" && !path.exists() {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{of} {name}: {e}"));
        rows.push((format!("{of} {name}"), text));
        fs::remove_file(path).expect("remove what was said");
    }
}

fn all(runtime: &Runtime) -> Rows {
    let mut found = Rows::new();
    let change = |root: &std::path::Path| {
        let _ = symlink("busybox", root.join("bin/readlink"));
    };
    for target in targets(runtime, &[], change) {
        for callers in CALLERS {
            let said = TempDir::new("said");
            let call = |words: &[&str]| -> Output {
                let env = Cmd::new("env").args(callers);
                env.args(&[runtime.program(), "--root", runtime.root()]).args(words).run()
            };
            let of = |verb: &str| format!("{} {callers:?} {verb}", target.kind);
            prepare(&target, &said, "exit 3");
            let ended = call(&["run", "--bundle", target.str(), &unique_name("front")]);
            assert_eq!(ended.status, 3, "{}: {ended}", of("run"));
            rows(&of("run"), &said, &mut found);

            prepare(&target, &said, "exec sleep 1000");
            let id = unique_name("back");
            for first in [&["run", "--detach"][..], &["create"]] {
                call(&[first, &["--bundle", target.str(), &id]].concat()).ok();
                if first == ["create"] {
                    call(&["start", &id]).ok();
                }
                call(&["exec", &id, "sh", "-c", &look(&said, "exec")]).ok();
                call(&["delete", "--force", &id]).ok();
                rows(&of(first[0]), &said, &mut found);
            }
        }
    }
    found
}

#[test]
fn vm_hooks_and_programs_begin_with_the_signals_of_their_caller() {
    only_in_lab();
    let [runcs, ours] = [Runtime::runc(), Runtime::sharedroot()].map(|runtime| all(&runtime));
    assert_eq!(runcs.len(), ours.len());
    let mut differs = String::new();
    for ((what, of_runc), (_, of_ours)) in runcs.iter().zip(&ours) {
        if of_runc != of_ours {
            differs += &format!("{what}:\nrunc\n{of_runc}ours\n{of_ours}");
        }
    }
    assert!(differs.is_empty(), "{differs}");
}
