//! How a process is confined, in `create` and in `exec`, where the embedded engine alone would leave a part out. Generic:
//! `RUNTIME=runc` must pass too.
//!
//! Guest: --no-docker

use std::fs;

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Output, unique_name};
use sharedroot_tests::kernel_view::{confinement, confinement_of};
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::{Container, Runtime};

const FOREVER: [&str; 2] = ["sleep", "1000"];

/// What `confinement` says of one thing.
#[track_caller]
fn line<'a>(all: &'a [String], name: &str) -> &'a str {
    let line = all.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.unwrap_or_else(|| panic!("no {name} in {all:?}"))
}

/// `exec --process` of a description that says what must be said, and what `more` adds.
#[track_caller]
fn exec_file(container: &Container<'_>, args: &[&str], more: &Value) -> Output {
    let mut process =
        json!({ "cwd": "/", "args": args, "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    for (key, value) in more.as_object().into_iter().flatten() {
        process[key] = value.clone();
    }
    let dir = TempDir::new("process");
    let path = dir.0.join("process.json");
    fs::write(&path, process.to_string()).unwrap();
    container.cmd("exec", &["--process", path.to_str().unwrap()]).run()
}

/// Docker's default container: a filter, and no promise about new privileges. Loading the filter needs CAP_SYS_ADMIN
/// then, which the container must not have.
#[test]
fn vm_a_filter_without_no_new_privileges() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    bundle.forbid_mkdir();
    for given in [json!(false), json!(null)] {
        bundle.edit(|config| config["process"]["noNewPrivileges"] = given.clone());
        let container = runtime.start(&bundle);
        let init = confinement_of(container.pid());
        assert_eq!((line(&init, "Seccomp"), line(&init, "NoNewPrivs")), ("2", "0"), "{given}");
        for set in ["CapBnd", "CapPrm", "CapEff"] {
            // KILL, NET_BIND_SERVICE and AUDIT_WRITE, which `spec` gives.
            assert_eq!(line(&init, set), "0000000020000420", "{given}");
        }
        let exec = container.exec(&[], &["cat", "/proc/self/status"]).ok();
        assert_eq!(confinement(&exec), init, "exec with {given}");
        let mkdir = container.exec(&[], &["mkdir", "/tmp/forbidden"]);
        assert!(mkdir.stderr.contains("not implemented"), "{mkdir}");
    }
}

#[test]
fn vm_a_process_without_capabilities_has_no_more_than_the_container() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    bundle.edit(|config| {
        let some = json!(["CAP_KILL"]);
        config["process"]["capabilities"] =
            json!({ "bounding": some, "effective": some, "permitted": some });
    });
    let container = runtime.start(&bundle);
    let look = ["cat", "/proc/self/status"];
    let exec = confinement(&exec_file(&container, &look, &json!({})).ok());
    for set in ["CapBnd", "CapPrm", "CapEff"] {
        assert_eq!(line(&exec, set), "0000000000000020", "exec: {exec:?}");
    }
    // runc and crun forget the container's promise here.
    if runtime.is_sharedroot() {
        assert_eq!(line(&exec, "NoNewPrivs"), "1", "{exec:?}");
    }

    bundle.edit(|config| {
        config["process"].as_object_mut().unwrap().remove("capabilities");
    });
    let container = runtime.start(&bundle);
    let init = confinement_of(container.pid());
    let exec = confinement(&exec_file(&container, &look, &json!({})).ok());
    for set in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(line(&init, set), "0000000000000000", "init: {init:?}");
        assert_eq!(line(&exec, set), "0000000000000000", "exec: {exec:?}");
    }
}

/// No host has a profile of this name, and the lab's has no AppArmor: the process would be confined less than was asked
/// for. crun leaves the profile out.
#[test]
fn vm_an_apparmor_profile_is_not_left_out() {
    const PROFILE: &str = "no-such-profile";
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    let container = runtime.start(&bundle);
    let before = Census::take();
    for refused in [
        container.exec(&["--apparmor", PROFILE], &["true"]),
        exec_file(&container, &["true"], &json!({ "apparmorProfile": PROFILE })),
    ] {
        assert_ne!(refused.status, 0, "{refused}");
        assert!(refused.stderr.contains("apparmor"), "{refused}");
    }
    bundle.edit(|config| config["process"]["apparmorProfile"] = json!(PROFILE));
    let refused = runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("apparmor")]).run();
    assert_ne!(refused.status, 0, "{refused}");
    assert!(refused.stderr.contains("apparmor"), "{refused}");
    before.nothing_left();
}

/// Root of the container is nobody on the host. An exec is inside the user namespace, or is refused with the way out.
#[test]
fn vm_exec_does_not_stay_outside_of_the_user_namespace() {
    const MAP: &str = "0 100000 65536";
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &FOREVER);
    bundle.edit(|config| {
        let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    });
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let container = runtime.start(&bundle);
    let init = fs::read_to_string(format!("/proc/{}/uid_map", container.pid())).unwrap();
    assert_eq!(words(&init), MAP);
    let before = Census::take();
    let look = ["sh", "-c", "cat /proc/self/uid_map; ls -l /proc/self/ns | grep -o 'user:.*'"];
    let namespace = fs::read_link(format!("/proc/{}/ns/user", container.pid())).unwrap();
    let inside = format!("{MAP} {}", namespace.display());
    for exec in [container.exec(&[], &look), exec_file(&container, &look, &json!({}))] {
        if runtime.is_sharedroot() && exec.status != 0 {
            assert_eq!(exec.stdout, "", "{exec}");
            for word in ["linux.namespaces", "user namespace", "runc"] {
                assert!(exec.stderr.contains(word), "{word:?} is not in: {exec}");
            }
        } else {
            assert_eq!(words(&exec.ok()), inside);
        }
    }
    assert_eq!(container.status(), "running");
    before.nothing_left();
}
