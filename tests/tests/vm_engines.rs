//! Which engine runs a container, and that every later command goes there.
//!
//! Guest: --no-docker

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Cmd, Output, out};
use sharedroot_tests::kernel_view::{mounts_of, root_of};
use sharedroot_tests::lab::{RUN_DIR, Replaced, TempDir, wait_for};
use sharedroot_tests::pool::{CONFIG, has};
use sharedroot_tests::runtime::Runtime;
use sharedroot_tests::stack::Image;

const SLEEP: [&str; 2] = ["sleep", "1000"];
const ENGINES: [&str; 3] = ["libcontainer", "crun", "runc"];
const DELEGATES: [&str; 2] = ["crun", "runc"];

/// What the record says of a container's engine.
#[track_caller]
fn engine_of(id: &str) -> String {
    let roots = fs::read_dir(format!("{RUN_DIR}/containers")).unwrap().flatten();
    let path = roots.map(|root| root.path().join(id).join("record.json")).find(|p| p.exists());
    let text = fs::read_to_string(path.expect("a record")).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    match record["engine"]["path"].as_str() {
        Some(path) => Path::new(path).file_name().unwrap().to_str().unwrap().to_owned(),
        None => record["engine"]["kind"].as_str().unwrap().to_owned(),
    }
}

/// The files by which runc and crun know a container, and the embedded engine: each in its own directory.
#[track_caller]
fn engine_that_has(root: &str, id: &str) -> Vec<&'static str> {
    let delegates = fs::read_dir(format!("{RUN_DIR}/delegates")).into_iter().flatten().flatten();
    let delegates: Vec<PathBuf> = delegates.map(|dir| dir.path().join(id)).collect();
    let any = |file: &str| delegates.iter().any(|dir| dir.join(file).exists());
    let own = Path::new(root).join(id).join("state.json").exists();
    let all = [("libcontainer", own), ("crun", any("status")), ("runc", any("state.json"))];
    all.into_iter().filter(|(_, there)| *there).map(|(engine, _)| engine).collect()
}

#[test]
fn vm_every_command_goes_to_the_engine_that_created_the_container() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sh", "-c", "trap 'exit 7' TERM; sleep 1000 & wait"]);
    let id = |engine: &str| format!("of-{engine}");
    let call = |engine, words: &[&str]| runtime.cmd_with_engine(engine, words).run();
    for engine in ENGINES {
        call(Some(engine), &["create", "--bundle", bundle.str(), &id(engine)]).ok();
        assert_eq!(engine_of(&id(engine)), engine);
        assert_eq!(engine_that_has(runtime.root(), &id(engine)), [engine]);
    }
    // What is chosen for new containers does not count any more.
    let _config = Replaced::with(CONFIG, "engine = \"crun\"\n");
    for (engine, other) in ENGINES.into_iter().zip(["runc", "libcontainer", "crun"]) {
        for choice in [Some(other), None] {
            let state = call(choice, &["state", &id(engine)]).json();
            let bundle = json!(bundle.path());
            assert_eq!((&state["id"], &state["bundle"]), (&json!(id(engine)), &bundle), "{state}");
        }
        let taken = call(Some(other), &["create", "--bundle", bundle.str(), &id(engine)]);
        has(&taken.fails(1), &[&id(engine), "already exists"]);
        call(Some(other), &["start", &id(engine)]).ok();
        let exec = call(Some(other), &["exec", &id(engine), "sh", "-c", "exit 42"]);
        exec.fails(42);
    }
    let ids = || runtime.cmd(&["list", "--quiet"]).run().ok();
    assert_eq!(ids(), ["crun", "libcontainer", "runc"].map(id).join("\n"));
    let list = runtime.cmd(&["list", "--format", "json"]).run().json();
    for state in list.as_array().unwrap() {
        assert_eq!(state["status"], "running", "{state}");
        assert!(state["pid"].as_i64().is_some_and(|pid| pid > 1), "{state}");
        assert_eq!(state["bundle"], json!(bundle.path()), "{state}");
    }
    for (engine, other) in ENGINES.into_iter().zip(["runc", "libcontainer", "crun"]) {
        assert_ne!(call(Some(other), &["delete", &id(engine)]).status, 0, "it runs");
        call(Some(other), &["kill", &id(engine), "KILL"]).ok();
        wait_for("it has ended", || {
            (call(None, &["state", &id(engine)]).json()["status"] == "stopped").then_some(())
        });
        call(Some(other), &["delete", &id(engine)]).ok();
        assert_eq!(engine_that_has(runtime.root(), &id(engine)), [""; 0]);
        assert!(!ids().contains(&id(engine)));
        call(Some(other), &["delete", "--force", &id(engine)]).ok();
    }
}

#[test]
fn vm_the_flag_the_environment_and_the_configuration_choose() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &SLEEP);
    let chosen = |flag: Option<&str>, environment: &str| {
        let words = ["create", "--bundle", bundle.str(), "chosen"];
        runtime.cmd_with_engine(flag, &words).env("SHAREDROOT_ENGINE", environment).run().ok();
        let engine = engine_of("chosen");
        runtime.cmd(&["delete", "--force", "chosen"]).run().ok();
        engine
    };
    assert_eq!(chosen(None, ""), "libcontainer");
    let _config = Replaced::with(CONFIG, "engine = \"crun\"\n");
    assert_eq!(chosen(None, ""), "crun");
    assert_eq!(chosen(None, "runc"), "runc");
    assert_eq!(chosen(Some("libcontainer"), "runc"), "libcontainer");
    assert_eq!(chosen(Some("/usr/bin/crun"), "runc"), "crun");
}

/// A shared root is in a mount namespace of its own; what a container mounts in such a volume must not stay there.
#[test]
fn vm_a_volume_of_a_delegate_is_shared_with_the_host() {
    let (image, volume) = (Image::new(), TempDir::new("volume"));
    fs::create_dir_all(image.top().join("mnt")).unwrap();
    out(&["mount", "-t", "tmpfs", "volume", volume.str()]);
    out(&["mount", "--make-rshared", volume.str()]);
    let inner = format!("{}/inner", volume.str());
    fs::create_dir(&inner).unwrap();
    for (engine, option) in DELEGATES.iter().flat_map(|e| ["rshared", "rslave"].map(|o| (e, o))) {
        let runtime = Runtime::with_engine(engine);
        let bundle = image.bundle(&runtime, true, &SLEEP);
        bundle.edit(|config| {
            config["linux"]["rootfsPropagation"] = json!(option);
            config["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "destination": "/mnt", "type": "bind",
                "source": volume.str(), "options": ["rbind", option] }));
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
            }
        });
        let container = runtime.start(&bundle);
        // With that capability under an overlay.
        let on_base = root_of(container.pid()).super_options.contains(RUN_DIR);
        assert_eq!(on_base, option != "rshared", "{engine} {option}");
        let mount = ["busybox", "mount", "-t", "tmpfs", "inner", "/mnt/inner"];
        container.exec(&[], &mount).ok();
        let on_host = mounts_of("self").iter().any(|mount| mount.at == inner);
        assert_eq!(on_host, option == "rshared", "{engine} {option}");
        drop(container);
        if on_host {
            out(&["umount", &inner]);
        }
    }
    out(&["umount", "--recursive", volume.str()]);
}

#[test]
fn vm_a_delegate_gets_the_swapped_root() {
    let image = Image::new();
    for engine in DELEGATES {
        let runtime = Runtime::with_engine(engine);
        // The base and the engine's own directories stay.
        drop(runtime.start(&image.bundle(&runtime, true, &SLEEP)));
        drop(runtime.start(&image.bundle(&runtime, false, &SLEEP)));
        let before = Census::take();
        {
            let bundles = [true, false, false].map(|ro| image.bundle(&runtime, ro, &SLEEP));
            let [shared, private, other] = [0, 1, 2].map(|at| runtime.start(&bundles[at]));
            for container in [&shared, &private, &other] {
                let root = root_of(container.pid());
                assert!(root.is_on_dm() && root.fstype == "ext4", "{engine}: {root:?}");
                let read_only = container.id == shared.id;
                assert_eq!(root.has("ro"), read_only, "{engine}: {root:?}");
                assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
                assert_eq!(engine_of(&container.id), engine);
            }
            assert_ne!(shared.exec(&[], &["touch", "/etc/new"]).status, 0);
            private.exec(&[], &["touch", "/etc/new"]).ok();
            private.exec(&[], &["ls", "/etc/new"]).ok();
            assert_ne!(other.exec(&[], &["ls", "/etc/new"]).status, 0);
        }
        before.nothing_left();
    }
}

#[test]
fn vm_a_failed_create_leaves_nothing() {
    let image = Image::new();
    for engine in DELEGATES {
        let runtime = Runtime::with_engine(engine);
        drop(runtime.start(&image.bundle(&runtime, true, &SLEEP)));
        drop(runtime.start(&image.bundle(&runtime, false, &SLEEP)));
        let dir = TempDir::new("log");
        let before = Census::take();
        for (at, verb) in ["create", "run"].into_iter().enumerate() {
            for read_only in [true, false] {
                let bundle = image.bundle(&runtime, read_only, &SLEEP);
                bundle.edit(|config| {
                    let mounts = config["mounts"].as_array_mut().unwrap();
                    mounts.push(json!({ "destination": "/tmp", "source": "/no/such/source",
                                        "type": "none", "options": ["rbind"] }));
                });
                let log = dir.0.join(format!("{at}-{read_only}.json"));
                let failed = Cmd::new("/usr/local/bin/sharedroot")
                    .args(&["--root", runtime.root(), "--engine", engine, "--log"])
                    .args(&[log.to_str().unwrap(), "--log-format", "json", verb, "--bundle"])
                    .args(&[bundle.str(), "failed"])
                    .run();
                assert_eq!(failed.status, 1, "{failed}");
                // The engine's own words are the last, for Docker to show.
                let text = fs::read_to_string(&log).unwrap();
                let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
                assert_eq!(last["level"], "error", "{text}");
                assert!(last["msg"].as_str().unwrap().contains("/no/such/source"), "{text}");
                assert_ne!(runtime.cmd(&["state", "failed"]).run().status, 0);
            }
        }
        before.nothing_left();
    }
}

/// `--engine ENGINE create` must fail; what it said.
#[track_caller]
fn refused(runtime: &Runtime, bundle: &Bundle, engine: &str) -> String {
    let words = ["create", "--bundle", bundle.str(), "refused"];
    let output = runtime.cmd_with_engine(Some(engine), &words).run();
    assert_eq!(output.status, 1, "{output}");
    assert_eq!(output.stderr.matches("error:").count(), 1, "{output}");
    output.stderr
}

#[test]
fn vm_an_unsafe_engine_is_refused() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["true"]);
    let words = ["run", "--bundle", bundle.str(), "warm-up"];
    runtime.cmd_with_engine(Some("runc"), &words).run().ok();
    let before = Census::take();
    has(&refused(&runtime, &bundle, "nonsense"), &["--engine", "nonsense", "libcontainer, crun"]);
    has(&refused(&runtime, &bundle, "bin/runc"), &["--engine", "bin/runc", "absolute path"]);
    has(&refused(&runtime, &bundle, "/no/such/runc"), &["--engine", "/no/such/runc", "install it"]);
    has(&refused(&runtime, &bundle, "/usr/local/bin/sharedroot"), &["itself", "libcontainer"]);
    let _config = Replaced::with(CONFIG, "engine = \"nonsense\"\n");
    let words = ["create", "--bundle", bundle.str(), "refused"];
    has(&runtime.cmd(&words).run().fails(1), &[CONFIG, "nonsense"]);
    let environment = runtime.cmd(&words).env("SHAREDROOT_ENGINE", "more").run();
    has(&environment.fails(1), &["SHAREDROOT_ENGINE", "more"]);

    // A copy that root owns, where root alone can write: below that, one thing at a time is wrong.
    let engine = Engine::installed("runc");
    let path = engine.path.to_str().unwrap();
    let good = runtime.cmd_with_engine(Some(path), &["run", "--bundle", bundle.str(), "good"]);
    good.run().ok();
    for (what, is_dir) in [(&engine.path, false), (&engine.dir, true)] {
        let bad = if is_dir { 0o777 } else { 0o757 };
        fs::set_permissions(what, Permissions::from_mode(bad)).unwrap();
        has(&refused(&runtime, &bundle, path), &[path, what.to_str().unwrap(), "chmod go-w"]);
        fs::set_permissions(what, Permissions::from_mode(0o755)).unwrap();
        chown(what, Some(1000), None).unwrap();
        has(&refused(&runtime, &bundle, path), &[path, "owner 1000", "chown root:root"]);
        chown(what, Some(0), None).unwrap();
    }
    fs::set_permissions(&engine.path, Permissions::from_mode(0o644)).unwrap();
    has(&refused(&runtime, &bundle, path), &[path, "not an executable file"]);
    drop(engine);
    before.nothing_left();
}

#[test]
fn vm_a_name_is_not_looked_for_in_the_callers_path() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["true"]);
    let engine = Engine::installed("crun");
    fs::write(&engine.path, "#!/bin/sh\nexit 66\n").unwrap();
    let path = format!("{}:/usr/bin:/bin", engine.dir.display());
    let words = ["run", "--bundle", bundle.str(), "path"];
    runtime.cmd_with_engine(Some("crun"), &words).env("PATH", &path).run().ok();
}

#[test]
fn vm_an_engine_that_is_gone_is_named() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &SLEEP);
    let engine = Engine::installed("crun");
    let words = ["create", "--bundle", bundle.str(), "orphan"];
    runtime.cmd_with_engine(engine.path.to_str(), &words).run().ok();
    let away = engine.dir.join("away");
    fs::rename(&engine.path, &away).unwrap();
    for words in [&["state", "orphan"][..], &["delete", "--force", "orphan"]] {
        let said = runtime.cmd(words).run().fails(1);
        has(&said, &["container orphan", engine.path.to_str().unwrap(), "install it"]);
    }
    assert_eq!(runtime.cmd(&["list", "--quiet"]).run().ok(), "");
    fs::rename(&away, &engine.path).unwrap();
    runtime.cmd(&["delete", "--force", "orphan"]).run().ok();
}

/// A copy of an engine where root alone can write. Dropping it removes it.
struct Engine {
    dir: PathBuf,
    path: PathBuf,
}

impl Engine {
    #[track_caller]
    fn installed(name: &str) -> Self {
        let dir = PathBuf::from("/usr/local/lib/lab-engine");
        fs::create_dir(&dir).unwrap();
        let path = dir.join(name);
        let program = ["/usr/bin", "/usr/sbin"].map(|bin| Path::new(bin).join(name));
        let program = program.into_iter().find(|path| path.exists()).expect("the engine");
        fs::copy(program, &path).unwrap();
        Self { dir, path }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn vm_what_crun_or_the_embedded_engine_lacks_is_refused_with_a_remedy() {
    let crun = Runtime::with_engine("crun");
    let bundle = Bundle::new(&crun, &SLEEP);
    let container = crun.start(&bundle);
    assert_eq!(container.exec(&["--additional-gids", "44"], &["id", "-G"]).ok(), "0 44");
    let said = container.exec(&["--ignore-paused"], &["id"]).fails(255);
    has(&said, &["crun", "--ignore-paused", "--engine runc"]);
    let said = container.cmd("update", &["--cpu-idle", "1"]).run().fails(1);
    has(&said, &["crun", "--cpu-idle", "--engine runc"]);
    // crun has neither; sharedroot reads the cgroup itself.
    let stats = container.cmd("events", &["--stats"]).run().json();
    assert!(stats["data"]["memory"]["usage"]["usage"].as_u64().is_some_and(|n| n > 0), "{stats}");
    let table = container.call("ps", &["-o", "pid,comm"]).ok();
    assert!(table.contains("sleep") && table.lines().count() == 2, "{table}");

    let embedded = Runtime::sharedroot();
    let container = embedded.start(&bundle);
    for words in [&["checkpoint", &*container.id][..], &["restore", "--bundle", bundle.str(), "x"]]
    {
        has(&embedded.cmd(words).run().fails(1), &[words[0], "--engine runc"]);
    }
    let said = container.exec(&["--cgroup", "memory:sub"], &["id"]).fails(255);
    has(&said, &["--cgroup", "--engine runc"]);
    let said = container.cmd("update", &["--cpu-idle", "1"]).run().fails(1);
    has(&said, &["cpu_idle", "--engine runc"]);
}

/// An engine that notes what `restore` finds at the root of its bundle, in its own mount namespace.
const NOTES: &str = "#!/bin/sh
for word; do case $word in --bundle=*) bundle=${word#--bundle=} ;; esac; done
case \" $* \" in
*' restore '*) stat --file-system --format %T $bundle/rootfs; ! touch $bundle/rootfs/x || echo writable ;;
*' state '*) exit 1 ;;
esac
exit 0
";

#[test]
fn vm_restore_has_the_root_of_the_checkpoint_or_is_refused() {
    let (runtime, image, engine) = (Runtime::sharedroot(), Image::new(), Engine::installed("runc"));
    fs::write(&engine.path, NOTES).unwrap();
    let restore = |bundle: &Bundle, id: &str| -> Output {
        let words = ["restore", "--detach", "--bundle", bundle.str(), id];
        runtime.cmd_with_engine(engine.path.to_str(), &words).run()
    };
    let bundle = image.bundle(&runtime, true, &SLEEP);
    assert_eq!(restore(&bundle, "shared").ok(), "ext2/ext3");
    runtime.cmd(&["delete", "--force", "shared"]).run().ok();

    let bundle = image.bundle(&runtime, false, &SLEEP);
    has(&restore(&bundle, "private").fails(1), &["restore private", "--read-only"]);
    let create = ["create", "--bundle", bundle.str(), "private"];
    runtime.cmd_with_engine(engine.path.to_str(), &create).run().ok();
    // The checkpoint ended the container; nobody has deleted it yet.
    assert_eq!(restore(&bundle, "private").ok(), "ext2/ext3\nwritable");
    runtime.cmd(&["delete", "--force", "private"]).run().ok();
}
