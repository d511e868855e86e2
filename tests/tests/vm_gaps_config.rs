//! Parts of config.json that the embedded engine leaves out: honoured all the same, or refused by name. Generic:
//! `RUNTIME=runc` must pass too, but for the tests of sharedroot's own.
//!
//! Guest: --no-docker

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::unique_name;
use sharedroot_tests::kernel_view::cgroup_file;
use sharedroot_tests::lab::TempDir;
use sharedroot_tests::runtime::Runtime;

fn memory(at: &str, options: &[&str]) -> Value {
    json!({ "destination": at, "type": "tmpfs", "source": "tmpfs", "options": options })
}

/// What the host has once the runtime's own directories are there, which come with the first container.
#[track_caller]
fn census(runtime: &Runtime, bundle: &Bundle) -> Census {
    drop(runtime.start(bundle));
    Census::take()
}

#[test]
fn vm_memory_begins_as_a_copy() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let data = bundle.path().join("rootfs/data");
    fs::create_dir_all(data.join("dir")).unwrap();
    fs::write(data.join("dir/file"), "of the image\n").unwrap();
    std::os::unix::fs::chown(data.join("dir/file"), Some(1000), Some(1001)).unwrap();
    fs::set_permissions(data.join("dir/file"), PermissionsExt::from_mode(0o640)).unwrap();
    symlink("/etc/passwd", data.join("link")).unwrap();
    symlink("data", bundle.path().join("rootfs/alias")).unwrap();
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(memory("/data", &["tmpcopyup", "size=1m", "mode=0711", "nosuid"]));
        mounts.push(memory("/tmp", &["tmpcopyup", "ro"]));
    });
    let container = runtime.start(&bundle);
    let of = |path: &str| format!("/proc/{}/root{path}", container.pid());
    assert_eq!(fs::read_to_string(of("/data/dir/file")).unwrap(), "of the image\n");
    let file = fs::metadata(of("/data/dir/file")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (1000, 1001, 0o640));
    assert_eq!(fs::read_link(of("/data/link")).unwrap().to_str(), Some("/etc/passwd"));
    container.exec(&[], &["touch", "/data/new"]).ok();
    assert!(!data.join("new").exists(), "the image stays as it is");
    let line = container.exec(&[], &["grep", " /data ", "/proc/mounts"]).ok();
    assert!(line.contains(" tmpfs ") && line.contains("size=1024k"), "{line}");
    assert!(line.contains("nosuid"), "{line}");
    let written = container.exec(&[], &["touch", "/tmp/new"]);
    assert!(written.stderr.contains("Read-only"), "{written}");
}

/// An image whose directory is a link to a place that the host has, too.
#[test]
fn vm_a_copy_follows_no_link_out_of_the_image() {
    let runtime = Runtime::of_env();
    let secret = TempDir::new("secret");
    fs::write(secret.0.join("secret"), "").unwrap();
    let bundle = Bundle::new(&runtime, &["ls", "/data/"]);
    let rootfs = bundle.path().join("rootfs");
    symlink(&secret.0, rootfs.join("data")).unwrap();
    let inside = rootfs.join(secret.0.strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    fs::write(inside.join("of-the-image"), "").unwrap();
    bundle.edit(|config| {
        config["mounts"].as_array_mut().unwrap().push(memory("/data", &["tmpcopyup"]));
    });
    let id = unique_name("copy");
    let run = runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run();
    assert_eq!(run.ok(), "of-the-image");
}

#[test]
fn vm_memory_has_the_mode_of_the_directory() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let data = bundle.path().join("rootfs/data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, PermissionsExt::from_mode(0o750)).unwrap();
    bundle.edit(|config| {
        config["mounts"].as_array_mut().unwrap().push(memory("/data", &["nosuid"]));
    });
    let container = runtime.start(&bundle);
    let mode = fs::metadata(format!("/proc/{}/root/data", container.pid())).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o750);
}

#[test]
fn vm_limits_reach_the_kernel() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    bundle.edit(|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 67_108_864, "swap": 67_108_864 });
        config["linux"]["resources"]["unified"] = json!({ "memory.high": "33554432" });
    });
    let container = runtime.start(&bundle);
    let file = |name: &str| cgroup_file(container.pid(), name);
    assert_eq!(file("memory.max"), "67108864");
    assert_eq!(file("memory.high"), "33554432");
    assert_eq!(file("memory.swap.max"), "0", "memory and swap are as much as memory: no swap");
}

#[test]
fn vm_unknown_files_of_a_cgroup_are_refused() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    drop(runtime.start(&bundle));
    let name = unique_name("other");
    let other = Path::new("/sys/fs/cgroup").join(&name);
    fs::create_dir(&other).unwrap();
    let before = Census::take();
    for key in ["nothing.max".to_owned(), format!("../{name}/pids.max")] {
        bundle.edit(|config| config["linux"]["resources"]["unified"] = json!({ &*key: "7" }));
        let refused = runtime.cmd(&["create", "--bundle", bundle.str(), "refused"]).run();
        assert_ne!(refused.status, 0, "{key}");
    }
    before.nothing_left();
    assert_eq!(fs::read_to_string(other.join("pids.max")).unwrap().trim(), "max");
    fs::remove_dir(&other).unwrap();
}

/// Ours alone: runc runs no hook after one that failed, though the specification wants a warning and the next.
#[test]
fn vm_sharedroot_ends_a_container_whatever_its_hooks_do() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let before = census(&runtime, &bundle);
    let ran = bundle.path().join("ran");
    let write = format!("cat > {}", ran.display());
    bundle.edit(|config| {
        config["hooks"] = json!({ "poststop": [
            { "path": "/bin/false" },
            { "path": "/no/such/hook" },
            { "path": "/bin/sh", "args": ["sh", "-c", write], "env": ["PATH=/bin"] },
        ] });
    });
    let container = runtime.start(&bundle);
    container.cmd("delete", &["--force"]).run().ok();
    assert!(!container.exists());
    let state: Value = serde_json::from_str(&fs::read_to_string(&ran).unwrap()).unwrap();
    assert_eq!((&state["id"], &state["status"]), (&json!(container.id), &json!("stopped")));
    before.nothing_left();
}

/// Ours alone: runc runs these hooks in `create`, and crun's container goes on.
#[test]
fn vm_sharedroot_stops_a_container_whose_poststart_hook_fails() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    bundle.edit(|config| config["hooks"] = json!({ "poststart": [{ "path": "/bin/false" }] }));
    let container = runtime.create(&bundle);
    assert_ne!(container.call("start", &[]).status, 0);
    container.becomes("stopped");
}

#[test]
fn vm_a_hook_has_its_time() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let before = census(&runtime, &bundle);
    bundle.edit(|config| {
        config["hooks"] = json!({ "prestart": [
            { "path": "/bin/sleep", "args": ["sleep", "600"], "timeout": 1 },
        ] });
    });
    let began = std::time::Instant::now();
    let refused = runtime.cmd(&["create", "--bundle", bundle.str(), "refused"]).run();
    assert_ne!(refused.status, 0);
    assert!(began.elapsed().as_secs() < 60, "{refused}");
    before.nothing_left();
}

/// Ours alone: what the embedded engine cannot do, runc or crun can.
#[test]
fn vm_sharedroot_refuses_by_name() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let before = census(&runtime, &bundle);
    let config = fs::read_to_string(bundle.config_path()).unwrap();
    let mapping = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    let volume = |options: &[&str]| json!({ "destination": "/v", "type": "bind", "source": "/tmp", "options": options });
    let mut mapped = volume(&["bind"]);
    mapped["uidMappings"] = mapping;
    for (mount, words) in [
        (volume(&["bind", "idmap"]), ["(/v)", "idmap"]),
        (mapped, ["uidMappings", "runc"]),
        (volume(&["rbind", "nosymfollow"]), ["(/v)", "rnosymfollow"]),
        (memory("/v", &["sync"]), ["(/v)", "sync"]),
    ] {
        fs::write(bundle.config_path(), &config).unwrap();
        bundle.edit(|config| config["mounts"].as_array_mut().unwrap().push(mount.clone()));
        let refused = runtime.cmd(&["create", "--bundle", bundle.str(), "refused"]).run();
        assert_ne!(refused.status, 0, "{mount}");
        for word in words {
            assert!(refused.stderr.contains(word), "{word:?} is not in: {refused}");
        }
    }
    before.nothing_left();
}

/// runc's keys, as `RUNTIME=runc` shows them; crun has one more.
#[test]
fn vm_json_has_runcs_keys() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let wanted = ["bundle", "created", "id", "ociVersion", "owner", "pid", "rootfs", "status"];
    let wanted: BTreeSet<_> = wanted.map(str::to_owned).into();
    assert_eq!(keys(&container.state()), wanted, "state");
    let list = runtime.cmd(&["list", "--format", "json"]).run().json();
    assert_eq!(keys(&list[0]), wanted, "list");
    assert_eq!(list[0]["owner"], "root");
    for (key, value) in keys(&list[0]).iter().map(|key| (key, &list[0][key])) {
        assert_eq!(value.is_number(), key == "pid", "{key}: {value}");
    }
    let created = list[0]["created"].as_str().unwrap();
    assert!(created.ends_with('Z') && created.contains('T'), "{created}");
    let list = runtime.cmd(&["list"]).run().ok();
    let head: Vec<_> = list.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let line = list.lines().nth(1).unwrap();
    assert!(line.contains(&container.id) && line.contains("running"), "{line}");
}
