//! The caller's hooks: what they are told, where they run, and what their failure does. Generic: `RUNTIME=runc` must pass
//! too, but for the tests of sharedroot's own.
//!
//! Guest: --no-docker

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sharedroot_tests::bundle::{Bundle, make_rootfs};
use sharedroot_tests::census::Census;
use sharedroot_tests::command::{run, unique_name};
use sharedroot_tests::driver::Layered;
use sharedroot_tests::kernel_view::{mounts_of, root_of};
use sharedroot_tests::lab::{TempDir, only_in_lab};
use sharedroot_tests::runtime::Runtime;

const PATH: &str = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";

/// By a program that the host and the container have at the same path.
fn hook(script: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": [PATH] })
}

/// A bundle with a root that can be written.
fn writable(runtime: &Runtime) -> Bundle {
    let bundle = Bundle::new(runtime, &["sleep", "1000"]);
    bundle.edit(|config| config["root"]["readonly"] = json!(false));
    bundle
}

fn told(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}: {text}", path.display()))
}

#[test]
fn vm_hooks_are_told_of_the_container() {
    let runtime = Runtime::of_env();
    let bundle = writable(&runtime);
    let root = bundle.path().join("rootfs");
    // More than a pipe holds by itself.
    let annotations = json!({ "of.the.user": "x".repeat(100_000) });
    let outside = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    bundle.edit(|config| {
        config["annotations"] = annotations.clone();
        for kind in outside {
            config["hooks"][kind] = json!([hook(&format!("cat > {}/{kind}", root.display()))]);
        }
        config["hooks"]["startContainer"] = json!([hook("cat > /startContainer")]);
    });
    let container = runtime.start(&bundle);
    let (id, init) = (container.id.clone(), container.pid());
    container.cmd("delete", &["--force"]).run().ok();

    for (kind, pid, status) in [
        ("prestart", init, "creating"),
        ("createRuntime", init, "creating"),
        ("createContainer", 1, "creating"),
        ("startContainer", 1, "created"),
        ("poststart", init, "running"),
        ("poststop", init, "stopped"),
    ] {
        let state = told(&root.join(kind));
        assert_eq!(state["id"], id, "{kind}");
        assert_eq!(state["bundle"], bundle.str(), "{kind}");
        assert!(state["annotations"] == annotations, "{kind}");
        assert!(state["ociVersion"].is_string(), "{kind}");
        if kind != "poststop" {
            assert_eq!(state["pid"], pid, "{kind}");
        }
        // runc has a container `created` until it looks again.
        if runtime.is_sharedroot() || kind != "poststart" {
            assert_eq!(state["status"], status, "{kind}");
        }
    }
}

#[test]
fn vm_hooks_run_as_they_are_described() {
    let runtime = Runtime::of_env();
    let bundle = writable(&runtime);
    let root = bundle.path().join("rootfs");
    let look = "{ tr '\\0' ' ' < /proc/$$/cmdline; echo; env | grep -v -e '^_=' -e '^PWD' -e '^SHLVL'; pwd; } > ";
    bundle.edit(|config| {
        for kind in ["createRuntime", "poststart", "poststop"] {
            let mut hook = hook(&format!("{look}{}/{kind}", root.display()));
            hook["env"].as_array_mut().unwrap().push(json!("OWN=1"));
            hook["args"][0] = json!("name");
            config["hooks"][kind] = json!([hook]);
        }
        config["process"]["env"] = json!([PATH, "OF=the-process"]);
        config["process"]["cwd"] = json!("/tmp");
        let inside = json!({ "path": "/bin/sh", "args": ["sh", "-c", "env > /inside"] });
        config["hooks"]["startContainer"] = json!([inside]);
    });
    let container = runtime.start(&bundle);
    container.cmd("delete", &["--force"]).run().ok();
    for kind in ["createRuntime", "poststart", "poststop"] {
        let found = fs::read_to_string(root.join(kind)).unwrap();
        let lines: Vec<_> = found.lines().collect();
        assert!(lines[0].starts_with("name -c "), "{kind}: {found}");
        let mut env = lines[1..lines.len() - 1].to_vec();
        env.sort_unstable();
        assert_eq!(env, ["OWN=1", PATH], "{kind}: {found}");
        // runc has its poststop hooks where its caller is.
        if runtime.is_sharedroot() || kind != "poststop" {
            assert_eq!(lines.last(), Some(&bundle.str()), "{kind}: {found}");
        }
    }
    // A startContainer hook without an environment of its own has that of the process.
    let inside = fs::read_to_string(root.join("inside")).unwrap();
    assert!(inside.lines().any(|line| line == "OF=the-process"), "{inside}");
    assert!(inside.lines().any(|line| line == "HOME=/"), "{inside}");
}

/// Where a hook mounted something. Dropping it unmounts.
struct Mounted(PathBuf);

impl Mounted {
    fn new(dir: &TempDir) -> Self {
        let at = dir.0.join("mounted");
        fs::create_dir(&at).unwrap();
        Self(at)
    }

    /// A hook that mounts there, and says in which cgroup it runs.
    fn hook(&self) -> Value {
        let at = self.0.display();
        hook(&format!("cat /proc/self/cgroup > {at}.cgroup; mount -t tmpfs hook {at}"))
    }

    #[track_caller]
    fn is_on_the_host(&self) {
        assert!(
            mounts_of("self").iter().any(|mount| mount.at == self.0),
            "the host does not see it"
        );
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run(&["umount", self.0.to_str().unwrap()]);
    }
}

#[test]
fn vm_a_hook_mounts_on_the_host() {
    let runtime = Runtime::of_env();
    let volume =
        json!({ "destination": "/tmp", "type": "tmpfs", "source": "m", "options": ["tmpcopyup"] });
    // A prepared volume is in a mount namespace of `create`'s own.
    for (kind, prepared) in
        [("prestart", false), ("prestart", true), ("createRuntime", false), ("createRuntime", true)]
    {
        let (bundle, dir) = (writable(&runtime), TempDir::new("hook"));
        let mounted = Mounted::new(&dir);
        bundle.edit(|config| {
            config["hooks"][kind] = json!([mounted.hook()]);
            if prepared {
                config["mounts"].as_array_mut().unwrap().push(volume.clone());
            }
        });
        let container = runtime.start(&bundle);
        mounted.is_on_the_host();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let hooks = fs::read_to_string(dir.0.join("mounted.cgroup")).unwrap();
        assert_eq!(hooks, own, "a hook is none of the container's processes");
        let open = run(&["ls", "-l", &format!("/proc/{}/fd", container.pid())]).ok();
        assert!(!open.contains("mnt:["), "{open}");
    }
}

/// A container of an image of Docker's, with its root mounted. Dropping it unmounts.
struct OfImage {
    root: PathBuf,
    id: String,
    _dir: TempDir,
}

impl OfImage {
    fn new() -> Self {
        let dir = TempDir::new("docker");
        let id = unique_name("image");
        let root = Layered::new(dir.0.join("root"), make_rootfs).container(&id);
        Self { root, id, _dir: dir }
    }

    fn bundle(&self, runtime: &Runtime) -> Bundle {
        let bundle = Bundle::new(runtime, &["sleep", "1000"]);
        bundle.edit(|config| config["root"] = json!({ "path": self.root, "readonly": true }));
        bundle
    }
}

impl Drop for OfImage {
    fn drop(&mut self) {
        run(&["umount", self.root.to_str().unwrap()]);
    }
}

#[test]
fn vm_sharedroot_runs_hooks_of_a_shared_root_on_the_host() {
    only_in_lab();
    let (runtime, image, dir) = (Runtime::sharedroot(), OfImage::new(), TempDir::new("hook"));
    let (bundle, mounted) = (image.bundle(&runtime), Mounted::new(&dir));
    bundle.edit(|config| {
        config["hooks"]["createRuntime"] = json!([mounted.hook()]);
        config["annotations"]["dev.sharedroot.mode"] = json!("shared");
    });
    let container = runtime.container(image.id.clone());
    runtime.cmd(&["create", "--bundle", bundle.str(), &image.id]).run().ok();
    assert!(root_of(container.pid()).is_on_dm(), "the root is the image's base");
    mounted.is_on_the_host();
    let open = run(&["ls", "-l", &format!("/proc/{}/fd", container.pid())]).ok();
    assert!(!open.contains("mnt:["), "the waiting process has the host's namespace: {open}");
}

#[test]
fn vm_sharedroot_gives_the_hosts_mount_namespace_the_root_not_shared() {
    only_in_lab();
    let (runtime, image) = (Runtime::sharedroot(), OfImage::new());
    let bundle = image.bundle(&runtime);
    let log = bundle.path().join("log");
    bundle.edit(|config| {
        config["mounts"] = json!([]);
        config["root"]["readonly"] = json!(false);
        let linux = config["linux"].as_object_mut().unwrap();
        linux.remove("maskedPaths");
        linux.remove("readonlyPaths");
        let namespaces = linux["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "mount");
    });
    let container = runtime.container(image.id.clone());
    let log = log.to_str().unwrap();
    runtime.cmd(&["--log", log, "create", "--bundle", bundle.str(), &image.id]).run().ok();
    let said = fs::read_to_string(log).unwrap();
    assert!(said.contains("no mount namespace of its own"), "{said}");
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap();
    assert_eq!(namespace(&container.pid().to_string()), namespace("self"), "it is the host's");
}

#[test]
fn vm_sharedroot_has_poststart_hooks_wait_for_the_program() {
    let runtime = Runtime::sharedroot();
    let bundle = writable(&runtime);
    let seen = bundle.path().join("seen");
    let look = "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); cat /proc/$pid/comm > ";
    bundle.edit(|config| {
        config["hooks"]["startContainer"] = json!([hook("sleep 1")]);
        config["hooks"]["poststart"] = json!([hook(&format!("{look}{}", seen.display()))]);
    });
    let _container = runtime.start(&bundle);
    assert_eq!(fs::read_to_string(&seen).unwrap().trim(), "sleep");
}

#[test]
fn vm_sharedroot_says_which_hook_kept_a_container_from_its_start() {
    let runtime = Runtime::sharedroot();
    let bundle = writable(&runtime);
    let ran = bundle.path().join("rootfs/ran");
    bundle.edit(|config| {
        config["process"]["args"] = json!(["touch", "/ran"]);
        config["hooks"]["startContainer"] =
            json!([{ "path": "/bin/true" }, { "path": "/bin/false" }]);
    });
    let container = runtime.create(&bundle);
    let failed = container.call("start", &[]);
    assert_ne!(failed.status, 0);
    assert!(failed.stderr.contains("startContainer hook /bin/false"), "{failed}");
    container.becomes("stopped");
    assert!(!ran.exists(), "the program ran");
    container.call("delete", &[]).ok();
}

#[test]
fn vm_poststop_hooks_undo_a_failed_creation() {
    let runtime = Runtime::of_env();
    let bundle = writable(&runtime);
    // Some directories stay once there was a container.
    runtime.create(&bundle).cmd("delete", &["--force"]).run().ok();
    let before = Census::take();
    let (made, undone) = (bundle.path().join("made"), bundle.path().join("undone"));
    bundle.edit(|config| {
        config["hooks"]["createRuntime"] =
            json!([hook(&format!("touch {}", made.display())), { "path": "/bin/false" }]);
        config["hooks"]["poststop"] = json!([hook(&format!("cat > {}", undone.display()))]);
    });
    let id = unique_name("failed");
    assert_ne!(runtime.cmd(&["create", "--bundle", bundle.str(), &id]).run().status, 0);
    assert!(made.exists());
    let state = told(&undone);
    assert_eq!((&state["id"], &state["bundle"]), (&json!(id), &json!(bundle.str())));
    assert_eq!(state["status"], "stopped");
    before.nothing_left();
}

#[test]
fn vm_run_calls_every_hook_in_its_turn() {
    let runtime = Runtime::of_env();
    // With and without hooks that run while the container is created.
    for outside in [true, false] {
        let bundle = writable(&runtime);
        let order = bundle.path().join("order");
        bundle.edit(|config| {
            config["process"]["args"] = json!(["echo", "process"]);
            for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
                if outside || kind.starts_with("post") {
                    let say = |n| hook(&format!("echo {kind}{n} >> {}", order.display()));
                    config["hooks"][kind] = json!([say(1), say(2)]);
                }
            }
        });
        let id = unique_name("run");
        assert_eq!(runtime.cmd(&["run", "--bundle", bundle.str(), &id]).run().ok(), "process");
        let kinds: &[&str] = if outside {
            &["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
        } else {
            &["poststart", "poststop"]
        };
        let wanted: Vec<_> = kinds.iter().flat_map(|k| [1, 2].map(|n| format!("{k}{n}"))).collect();
        let found = fs::read_to_string(&order).unwrap();
        assert_eq!(found.lines().collect::<Vec<_>>(), wanted);
    }
}
