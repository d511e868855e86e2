//! The container's cgroup: whose it is, and what is in force there. Generic: `RUNTIME=runc` must pass too, but for what
//! runc 1.1 only warns of.
//!
//! Guest: --no-docker

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::json;
use sharedroot_tests::attack::allow;
use sharedroot_tests::bundle::Bundle;
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Cmd, unique_name};
use sharedroot_tests::lab::wait_for;
use sharedroot_tests::runtime::Runtime;

/// A cgroup of somebody else's.
struct Cgroup {
    /// As `linux.cgroupsPath` has it.
    path: String,
    dir: PathBuf,
}

impl Cgroup {
    #[track_caller]
    fn new() -> Self {
        let path = format!("/{}", unique_name("others"));
        let dir = Path::new("/sys/fs/cgroup").join(&path[1..]);
        fs::create_dir_all(dir.join("below")).expect("make a cgroup");
        Self { path, dir }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.join(file), text)
            .unwrap_or_else(|e| panic!("write {text} to {file}: {e}"));
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for dir in [self.dir.join("below"), self.dir.clone()] {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// A process of the host.
struct Sleeper(Child);

impl Sleeper {
    #[track_caller]
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().expect("start sleep"))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The kernel takes its time to end many, and libcgroups gives it a tenth of a second.
#[test]
fn vm_many_processes_end_with_their_container() {
    const MANY: usize = 600;
    let runtime = Runtime::of_env();
    let script = format!("n=0; while [ $n -lt {MANY} ]; do sleep 1000 & n=$((n+1)); done; wait");
    let bundle = Bundle::new(&runtime, &["sh", "-c", &script]);
    // The first of its state directory.
    drop(runtime.create(&bundle));
    let before = Census::take();
    let container = runtime.start(&bundle);
    wait_for("all processes", || {
        let listed = container.call("ps", &["--format", "json"]);
        (listed.json().as_array().expect("a list").len() > MANY).then_some(())
    });
    container.cmd("delete", &["--force"]).run().ok();
    before.nothing_left();
}

#[test]
fn vm_an_empty_cgroup_is_taken() {
    let runtime = Runtime::of_env();
    let (cgroup, bundle) = (Cgroup::new(), Bundle::new(&runtime, &["sleep", "1000"]));
    bundle.edit(|config| config["linux"]["cgroupsPath"] = json!(cgroup.path));
    let container = runtime.start(&bundle);
    let found = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    assert_eq!(found.trim(), format!("0::{}", cgroup.path));
}

/// Its processes would be paused, limited and killed with the container.
#[test]
fn vm_a_cgroup_in_use_is_refused() {
    let runtime = Runtime::sharedroot();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    drop(runtime.start(&bundle));
    let (cgroup, mut sleeper) = (Cgroup::new(), Sleeper::new());
    bundle.edit(|config| {
        config["linux"]["cgroupsPath"] = json!(cgroup.path);
        config["linux"]["resources"]["pids"] = json!({ "limit": 7 });
    });
    for within in ["cgroup.procs", "below/cgroup.procs"] {
        cgroup.write(within, &sleeper.0.id().to_string());
        let before = Census::take();
        for verb in ["create", "run"] {
            let refused =
                runtime.cmd(&[verb, "--bundle", bundle.str(), &unique_name("in-use")]).run();
            let named =
                format!("linux.cgroupsPath: container's cgroup is not empty: {}", cgroup.path);
            assert!(refused.status != 0 && refused.stderr.contains(&named), "{refused}");
            assert!(refused.stderr.contains(&sleeper.0.id().to_string()), "{refused}");
        }
        before.nothing_left();
        assert_eq!(fs::read_to_string(cgroup.dir.join("pids.max")).unwrap().trim(), "max");
        assert!(sleeper.0.try_wait().unwrap().is_none(), "the process was ended");
    }
    // Another container's is no better.
    drop(sleeper);
    let first = runtime.start(&bundle);
    let second = runtime.cmd(&["create", "--bundle", bundle.str(), &unique_name("second")]).run();
    assert!(second.status != 0 && second.stderr.contains("linux.cgroupsPath"), "{second}");
    assert_eq!(first.status(), "running");
    // The name of a container that is there is said before its cgroup.
    let again = runtime.cmd(&["create", "--bundle", bundle.str(), &first.id]).run();
    assert!(again.status != 0 && again.stderr.contains("exist"), "{again}");
}

/// Who is born in it or moved there stands still, and the runtime with him.
#[test]
fn vm_a_frozen_cgroup_is_refused() {
    let runtime = Runtime::sharedroot();
    let (cgroup, bundle) = (Cgroup::new(), Bundle::new(&runtime, &["true"]));
    bundle.edit(|config| config["linux"]["cgroupsPath"] = json!(cgroup.path));
    cgroup.write("cgroup.freeze", "1");
    let refused = runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("frozen")]).run();
    let named = format!("linux.cgroupsPath: {} is frozen", cgroup.path);
    assert!(refused.status != 0 && refused.stderr.contains(&named), "{refused}");
    cgroup.write("cgroup.freeze", "0");
    runtime.cmd(&["run", "--bundle", bundle.str(), &unique_name("thawed")]).run().ok();
}

/// The device rules that every container gets do not depend on a part of the configuration that may be left out.
#[test]
fn vm_without_resources_devices_are_out_of_reach() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
    let open = "cd /dev && mknod loop b 7 0 && mknod my-full c 1 7 && \
                head -c 1 my-full | od -An -tx1 && head -c 1 loop";
    for without in ["linux.resources", "linux.resources.devices"] {
        bundle.edit(|config| {
            allow(config, &["CAP_MKNOD"]);
            match without {
                "linux.resources" => config["linux"].as_object_mut().unwrap().remove("resources"),
                _ => config["linux"].as_object_mut().unwrap().insert("resources".into(), json!({})),
            };
        });
        let container = runtime.start(&bundle);
        let opened = container.exec(&[], &["sh", "-c", open]);
        assert_eq!(opened.stdout.trim(), "00", "{without}: {opened}");
        assert!(opened.stderr.contains("loop: Operation not permitted"), "{without}: {opened}");
    }
}

/// To load the device rules the engine raises a limit of its own.
#[test]
fn vm_locked_memory_is_limited_as_the_callers() {
    let runtime = Runtime::of_env();
    let bundle = Bundle::new(&runtime, &["grep", "Max locked memory", "/proc/self/limits"]);
    let line = "ulimit -S -l 64; ulimit -H -l 128; exec \"$@\"";
    for (given, limits) in [
        (json!([]), "65536 131072"),
        (json!([{ "type": "RLIMIT_NOFILE", "soft": 99, "hard": 99 }]), "65536 131072"),
        (json!([{ "type": "RLIMIT_MEMLOCK", "soft": 4096, "hard": 8192 }]), "4096 8192"),
    ] {
        bundle.edit(|config| config["process"]["rlimits"] = given.clone());
        let id = unique_name("locked");
        let words = ["--root", runtime.root(), "run", "--bundle", bundle.str(), &id];
        let ran = Cmd::new("sh").args(&["-c", line, "sh", runtime.program()]).args(&words).run();
        let found: Vec<_> = ran.ok().split_whitespace().skip(3).map(str::to_owned).collect();
        assert_eq!(found[..2].join(" "), limits, "{given}");
    }
}

/// A user that may divide the container's cgroup, and not change its limits.
#[test]
fn vm_a_cgroup_is_its_users() {
    const DIVIDE: &str = "cd /sys/fs/cgroup && mkdir child && echo $$ > child/cgroup.procs && \
                          ! echo 5 > pids.max && cat /proc/self/cgroup && exec sleep 1000";
    let runtime = Runtime::sharedroot();
    for (mapped, cgroup_namespace, option) in
        [(true, true, "rw"), (false, true, "rw"), (false, false, "rw"), (false, true, "ro")]
    {
        let bundle = Bundle::new(&runtime, &["sleep", "1000"]);
        bundle.edit(|config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "cgroup");
            if cgroup_namespace {
                namespaces.push(json!({ "type": "cgroup" }));
            }
            if mapped {
                namespaces.push(json!({ "type": "user" }));
                let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
                config["linux"]["uidMappings"] = map.clone();
                config["linux"]["gidMappings"] = map;
            } else {
                config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
            }
            let mounts = config["mounts"].as_array_mut().unwrap();
            let cgroup = mounts.iter_mut().find(|m| m["destination"] == "/sys/fs/cgroup").unwrap();
            cgroup["options"] = json!(["nosuid", "noexec", "nodev", option]);
            let owned = cgroup_namespace && option == "rw";
            if owned {
                config["process"]["args"] = json!(["sh", "-c", DIVIDE]);
            }
        });
        let container = runtime.create(&bundle);
        let what = format!("mapped {mapped}, namespace {cgroup_namespace}, {option}");
        let line = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
        let dir = Path::new("/sys/fs/cgroup").join(line.trim().trim_start_matches("0::/"));
        let owner = |file: &str| fs::metadata(dir.join(file)).unwrap().uid();
        let user = match (cgroup_namespace && option == "rw", mapped) {
            (false, _) => 0,
            (true, true) => 100_000,
            (true, false) => 1000,
        };
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            assert_eq!(owner(file), user, "{what}: {file}");
        }
        for file in ["pids.max", "memory.max", "cgroup.freeze", "cgroup.kill"] {
            assert_eq!(owner(file), 0, "{what}: {file}");
        }
        container.call("start", &[]).ok();
        if user != 0 {
            wait_for("it divides its cgroup", || {
                fs::read_to_string(dir.join("child/cgroup.procs")).ok().filter(|p| !p.is_empty())
            });
            // A shell that fails at one of its steps ends without this.
            wait_for("it has divided its cgroup", || {
                let name = fs::read_to_string(format!("/proc/{}/comm", container.pid())).ok()?;
                (name == "sleep\n").then_some(())
            });
        }
        drop(container);
        assert!(!dir.exists(), "{what}: the cgroup is left");
    }
}
