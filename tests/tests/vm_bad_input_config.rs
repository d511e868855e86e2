//! A config.json with something wrong in it, or something unknown. What is accepted runs; what is refused is refused by its
//! name, and leaves no process, cgroup, mount, device or directory. `RUNTIME=runc` compares the verdicts.
//!
//! Guest: --no-docker

use std::fs;

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::unique_name;
use sharedroot_tests::runtime::Runtime;

/// What becomes of a configuration.
enum Fate {
    /// It runs.
    Runs,
    /// It is refused with these words.
    Refused(&'static [&'static str]),
    /// The same, where runc runs it: with the reason for the difference.
    RefusedUnlikeRunc(&'static [&'static str], &'static str),
    /// It is refused; runc is not asked, because it would do to the guest what is said here.
    RefusedUnasked(&'static [&'static str], &'static str),
}
use Fate::{Refused, RefusedUnasked, RefusedUnlikeRunc, Runs};

/// What is done to a good configuration, and what becomes of it.
type Row = (&'static str, fn(&mut Value), Fate);

/// Runs each row's configuration and compares with its fate; complains of all rows together.
#[track_caller]
fn judge(rows: &[Row]) {
    let runtime = Runtime::of_env();
    let ours = std::env::var_os("RUNTIME").is_none();
    let bundle = Bundle::new(&runtime, &["true"]);
    // Once, so that the runtime's directories are there.
    runtime.cmd(&["run", "--bundle", bundle.str(), "warm-up"]).run().ok();
    let good = fs::read_to_string(bundle.config_path()).unwrap();
    let before = ours.then(Census::take);
    let mut wrong = Vec::new();
    for (name, change, fate) in rows {
        fs::write(bundle.config_path(), &good).unwrap();
        bundle.edit(change);
        let (runs, words, why): (bool, &[&str], &str) = match fate {
            Runs => (true, &[], ""),
            Refused(words) => (false, words, ""),
            RefusedUnlikeRunc(words, why) => (!ours, words, why),
            RefusedUnasked(..) if !ours => continue,
            RefusedUnasked(words, why) => (false, words, why),
        };
        let id = unique_name("bad");
        let output = runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run();
        if (output.status == 0) != runs {
            wrong.push(format!("{name}: it was to run: {runs} ({why}): {output}"));
        }
        let silent = |word: &&&str| ours && !runs && !output.stderr.contains(**word);
        wrong.extend(words.iter().filter(silent).map(|w| format!("{name}: no {w:?}: {output}")));
        // 128 and the number of a signal.
        if (129..=192).contains(&output.status) {
            wrong.push(format!("{name}: a crash: {output}"));
        }
        let left = fs::read_dir(runtime.root()).unwrap().flatten();
        wrong.extend(left.map(|entry| format!("{name}: left {}", entry.path().display())));
        // runc may leave what it likes.
        match &before {
            Some(before) => before.nothing_left(),
            None => drop(runtime.cmd(&["delete", "--force", &id]).run()),
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Where any name has a meaning: the object is a table, not a structure.
const TABLES: [&str; 5] = ["annotations", "sysctl", "unified", "netDevices", "rdma"];

/// A member that no version of the specification has, in every object.
fn strew(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (_, value) in members.iter_mut().filter(|(key, _)| !TABLES.contains(&&***key)) {
                strew(value);
            }
            members.insert("notYetInvented".into(), json!({ "a": [null, 1e300, "\0"] }));
        }
        Value::Array(items) => items.iter_mut().for_each(strew),
        _ => {}
    }
}

/// Adds to the list at `place` (RFC 6901), which need not be there.
fn push(config: &mut Value, place: &str, item: Value) {
    let (parent, name) = place.rsplit_once('/').expect("a pointer");
    let parent = config.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
    match &mut parent[name] {
        Value::Array(list) => list.push(item),
        list => *list = json!([item]),
    }
}

/// runtime-spec, config.md: an unknown property is no error; a capability that cannot be granted is a warning.
#[test]
fn vm_unknown_things_that_are_no_error() {
    judge(&[
        ("a field in every object", strew, Runs),
        ("an annotation", |c| c["annotations"] = json!({ "com.example.x": "../\u{1b}[2J" }), Runs),
        (
            "a capability",
            |c| push(c, "/process/capabilities/bounding", json!("CAP_NOT_YET_INVENTED")),
            Runs,
        ),
        (
            "a system call of a filter",
            |c| {
                c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                    { "names": ["not_yet_invented", "mkdir"], "action": "SCMP_ACT_ERRNO" }] });
            },
            Runs,
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn vm_process_wrong() {
    judge(&[
        (
            "no process",
            |c| drop(c.as_object_mut().unwrap().remove("process")),
            Refused(&["process"]),
        ),
        ("process null", |c| c["process"] = json!(null), Refused(&["process"])),
        ("no args", |c| c["process"]["args"] = json!([]), Refused(&["process.args"])),
        ("args null", |c| c["process"]["args"] = json!(null), Refused(&["process.args"])),
        (
            "an empty program",
            |c| c["process"]["args"] = json!([""]),
            Refused(&["executable file not found in $PATH"]),
        ),
        ("no such program", |c| c["process"]["args"] = json!(["nope"]), Refused(&["nope"])),
        ("a directory as program", |c| c["process"]["args"] = json!(["/etc"]), Refused(&["/etc"])),
        ("args no list", |c| c["process"]["args"] = json!("true"), Refused(&["process.args"])),
        ("NUL in args", |c| push(c, "/process/args", json!("a\0b")), Refused(&["process.args"])),
        ("NUL in env", |c| push(c, "/process/env", json!("A=\0")), Refused(&["process.env"])),
        ("NUL in cwd", |c| c["process"]["cwd"] = json!("/\0"), Refused(&["process.cwd"])),
        ("no cwd", |c| c["process"]["cwd"] = json!(""), Refused(&["process.cwd"])),
        ("a relative cwd", |c| c["process"]["cwd"] = json!("tmp"), Refused(&["process.cwd"])),
        ("cwd no directory", |c| c["process"]["cwd"] = json!("/etc/passwd"), Refused(&["cwd"])),
        (
            "a negative uid",
            |c| c["process"]["user"]["uid"] = json!(-1),
            Refused(&["process.user.uid"]),
        ),
        (
            "a uid of 33 bits",
            |c| c["process"]["user"]["uid"] = json!(1_u64 << 32),
            Refused(&["process.user.uid"]),
        ),
        (
            "terminal no word",
            |c| c["process"]["terminal"] = json!("no"),
            Refused(&["process.terminal"]),
        ),
        (
            "oom score beyond its range",
            |c| c["process"]["oomScoreAdj"] = json!(100_000),
            Refused(&["oomScoreAdj"]),
        ),
        (
            "an unknown rlimit",
            |c| c["process"]["rlimits"] = json!([{ "type": "RLIMIT_X", "soft": 1, "hard": 1 }]),
            Refused(&["process.rlimits[0].type", "RLIMIT_X"]),
        ),
        (
            "an rlimit twice",
            |c| {
                let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 9, "hard": 9 });
                c["process"]["rlimits"] = json!([limit, limit]);
            },
            Refused(&["process.rlimits[1]", "RLIMIT_NOFILE"]),
        ),
        (
            "a soft limit above the hard one",
            |c| {
                c["process"]["rlimits"] =
                    json!([{ "type": "RLIMIT_NOFILE", "soft": 10, "hard": 9 }]);
            },
            Refused(&["RLIMIT_NOFILE"]),
        ),
        (
            "a limit of 65 bits",
            |c| {
                c["process"]["rlimits"] =
                    json!([{ "type": "RLIMIT_NOFILE", "soft": 1e20, "hard": 1e20 }]);
            },
            Refused(&["process.rlimits[0]"]),
        ),
    ]);
}

#[test]
fn vm_root_and_mounts_wrong() {
    fn mount(config: &mut Value, destination: &str, typ: &str, source: &str, options: &[&str]) {
        push(
            config,
            "/mounts",
            json!({ "destination": destination, "type": typ,
            "source": source, "options": options }),
        );
    }
    judge(&[
        ("no root", |c| drop(c.as_object_mut().unwrap().remove("root")), Refused(&["root"])),
        ("root null", |c| c["root"] = json!(null), Refused(&["root"])),
        ("an empty root", |c| c["root"]["path"] = json!(""), Refused(&["root.path"])),
        ("NUL in the root", |c| c["root"]["path"] = json!("root\0fs"), Refused(&["root.path"])),
        (
            "no such root",
            |c| c["root"]["path"] = json!("/no/such"),
            Refused(&["root.path", "/no/such"]),
        ),
        ("a file as root", |c| c["root"]["path"] = json!("config.json"), Refused(&["root.path"])),
        ("mounts no list", |c| c["mounts"] = json!({}), Refused(&["mounts"])),
        (
            "a mount without a place",
            |c| push(c, "/mounts", json!({ "type": "tmpfs" })),
            Refused(&["mounts[", "destination"]),
        ),
        ("a mount on nothing", |c| mount(c, "", "tmpfs", "t", &[]), Refused(&["mounts["])),
        ("a mount on the root", |c| mount(c, "/", "tmpfs", "t", &[]), Refused(&["mounts["])),
        ("a relative place", |c| mount(c, "tmp", "tmpfs", "t", &[]), Runs),
        ("a place above the root", |c| mount(c, "/../../tmp", "tmpfs", "t", &[]), Runs),
        ("NUL in the place", |c| mount(c, "/t\0", "tmpfs", "t", &[]), Refused(&["mounts["])),
        ("NUL in the source", |c| mount(c, "/tmp", "tmpfs", "\0", &[]), Refused(&["mounts["])),
        (
            "NUL in an option",
            |c| mount(c, "/tmp", "tmpfs", "t", &["mode=7\0"]),
            Refused(&["mounts["]),
        ),
        ("no such file system", |c| mount(c, "/tmp", "nosuchfs", "t", &[]), Refused(&["/tmp"])),
        ("no such option", |c| mount(c, "/tmp", "tmpfs", "t", &["nosuch"]), Refused(&["/tmp"])),
        (
            "no such source",
            |c| mount(c, "/tmp", "bind", "/no/such", &["bind"]),
            Refused(&["/no/such"]),
        ),
        (
            "a file on a directory",
            |c| mount(c, "/tmp", "bind", "/etc/passwd", &["bind"]),
            Refused(&["/tmp"]),
        ),
        (
            "an option of a megabyte",
            |c| mount(c, "/tmp", "tmpfs", "t", &[&"x".repeat(1 << 20)]),
            Refused(&["/tmp"]),
        ),
    ]);
}

#[test]
fn vm_namespaces_wrong() {
    fn join(config: &mut Value, kind: &str, path: &str) {
        let list = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        list.retain(|namespace| namespace["type"] != kind);
        list.push(json!({ "type": kind, "path": path }));
    }
    judge(&[
        (
            "namespaces no list",
            |c| c["linux"]["namespaces"] = json!({}),
            Refused(&["linux.namespaces"]),
        ),
        (
            "an unknown one",
            |c| push(c, "/linux/namespaces", json!({ "type": "x" })),
            Refused(&["linux.namespaces["]),
        ),
        (
            "one twice",
            |c| push(c, "/linux/namespaces", json!({ "type": "pid" })),
            Refused(&["linux.namespaces[", "pid"]),
        ),
        (
            "a file",
            |c| join(c, "ipc", "/etc/passwd"),
            Refused(&["linux.namespaces[", "/etc/passwd"]),
        ),
        ("nothing", |c| join(c, "ipc", "/no/such"), Refused(&["linux.namespaces[", "/no/such"])),
        (
            "one of a dead process",
            |c| join(c, "ipc", "/proc/4194303/ns/ipc"),
            Refused(&["/proc/4194303/ns/ipc"]),
        ),
        (
            "one of another kind",
            |c| join(c, "ipc", "/proc/1/ns/net"),
            Refused(&["/proc/1/ns/net", "Ipc"]),
        ),
        (
            "NUL in the path",
            |c| join(c, "ipc", "/proc/1/ns/ipc\0"),
            Refused(&["linux.namespaces["]),
        ),
        ("a relative path", |c| join(c, "ipc", "proc/1/ns/ipc"), Refused(&["linux.namespaces["])),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn vm_limits_and_filters_wrong() {
    judge(&[
        ("no linux", |c| drop(c.as_object_mut().unwrap().remove("linux")), Refused(&["linux"])),
        ("a cgroup above the top", |c| c["linux"]["cgroupsPath"] = json!("/../../../bad"), Runs),
        (
            "a relative cgroup above the top",
            |c| c["linux"]["cgroupsPath"] = json!("../../bad"),
            Runs,
        ),
        (
            "the top of the cgroups",
            |c| c["linux"]["cgroupsPath"] = json!("/"),
            RefusedUnasked(&["linux.cgroupsPath"], "it takes all devices from the host"),
        ),
        (
            "the top, another way",
            |c| c["linux"]["cgroupsPath"] = json!("/a/.."),
            RefusedUnasked(&["linux.cgroupsPath"], "it takes all devices from the host"),
        ),
        (
            "a key of unified above its cgroup",
            |c| c["linux"]["resources"]["unified"] = json!({ "../../tmp/x": "1" }),
            Refused(&["linux.resources.unified"]),
        ),
        (
            "NUL in the cgroup",
            |c| c["linux"]["cgroupsPath"] = json!("/a\0"),
            Refused(&["linux.cgroupsPath"]),
        ),
        (
            "a cgroup of a long name",
            |c| c["linux"]["cgroupsPath"] = json!(format!("/{}", "x".repeat(300))),
            Runs,
        ),
        (
            "pids of 64 bits",
            |c| c["linux"]["resources"]["pids"] = json!({ "limit": u64::MAX }),
            Refused(&["linux.resources.pids.limit"]),
        ),
        (
            "memory no number",
            |c| c["linux"]["resources"]["memory"] = json!({ "limit": "1G" }),
            Refused(&["linux.resources.memory.limit"]),
        ),
        (
            "a device without a type",
            |c| push(c, "/linux/devices", json!({ "path": "/dev/x" })),
            Refused(&["linux.devices["]),
        ),
        (
            "an unknown action",
            |c| c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_X" }),
            Refused(&["linux.seccomp.defaultAction", "SCMP_ACT_X"]),
        ),
        (
            "an unknown architecture",
            |c| {
                c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW",
                    "architectures": ["SCMP_ARCH_X"] });
            },
            Refused(&["linux.seccomp.architectures[0]"]),
        ),
        (
            "a comparison with no argument",
            |c| {
                c["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                    { "names": ["mkdir"], "action": "SCMP_ACT_ERRNO",
                      "args": [{ "index": 9, "value": 1, "op": "SCMP_CMP_EQ" }] }] });
            },
            Refused(&["seccomp"]),
        ),
        (
            "an unknown setting",
            |c| c["linux"]["sysctl"] = json!({ "net.no.such": "1" }),
            Refused(&["open /proc/sys/net/no/such"]),
        ),
        (
            "a setting of the host",
            |c| c["linux"]["sysctl"] = json!({ "kernel.panic": "1" }),
            Refused(&["kernel.panic"]),
        ),
        (
            "a setting above its directory",
            |c| c["linux"]["sysctl"] = json!({ "net/../kernel/panic": "1" }),
            Refused(&["open /proc/sys/net"]),
        ),
        (
            "NUL in the host name",
            |c| c["hostname"] = json!("a\0b"),
            RefusedUnlikeRunc(&["hostname"], "the kernel would take the first part"),
        ),
        (
            "a host name of 65 bytes",
            |c| c["hostname"] = json!("x".repeat(65)),
            Refused(&["hostname"]),
        ),
        (
            "no such hook",
            |c| c["hooks"] = json!({ "createRuntime": [{ "path": "/no/such" }] }),
            Refused(&["hook"]),
        ),
        (
            "a relative hook",
            |c| c["hooks"] = json!({ "createRuntime": [{ "path": "true" }] }),
            Refused(&["hooks.createRuntime[0].path"]),
        ),
    ]);
}
