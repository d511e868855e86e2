//! A node of Kubernetes without its kubelet: containerd as systemd's service, with its CRI plugin, and pods as a kubelet asks for
//! them. The client is `hack/cri.d`, which speaks crictl's language and is not crictl.

use std::fs;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::command::{Cmd, Output, out, unique_name};
use crate::lab::{TempDir, only_in_lab, wait_for};

/// `NamespaceMode` of the API: whose namespace a container has.
pub const POD: i32 = 0;
/// See [`POD`].
pub const CONTAINER: i32 = 1;
/// See [`POD`]: the host's.
pub const NODE: i32 = 2;

/// What the containers run.
pub const BUSYBOX: &str = "docker.io/library/busybox:latest";
/// Ends with 7 on TERM. Nothing forks while a signal comes: User-Mode Linux panics where a fork is cut short by a signal.
pub const UNTIL_TERM: [&str; 3] = ["sh", "-c", "trap 'exit 7' TERM; sleep 1000 & echo ready; wait"];
/// Beside the test's executable, and a copy: programs start slowly from there.
const CLIENT: [&str; 2] = ["/share/client/cri", "/usr/local/bin/cri"];

/// Debian's file, and what a node adds: the pause image, kubelet's usual cgroup driver.
const CONTAINERD: &str = r#"version = 2

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "docker.io/library/pause:latest"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = true
"#;
/// What docs/kubernetes.md has an administrator add, so that pods may choose.
const ANNOTATIONS: &str = "pod_annotations = [\"dev.sharedroot.*\"]\n";
/// Bridged, without iptables.
const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "lab", "plugins": [{"type": "bridge", "bridge": "cri0",
    "isGateway": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]]}}]}"#;

/// Makes the guest a node, once.
#[track_caller]
pub fn node() {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        only_in_lab();
        fs::copy(CLIENT[0], CLIENT[1]).expect("copy the client; hack/cri.d/build makes it");
        let (dir, config) = (TempDir::new("images"), "/etc/containerd/config.toml");
        let tar = format!("{}/tar", dir.str());
        out(&["docker", "save", "--output", &tar, "pause", "busybox"]);
        // The lab's own, which are no services.
        for daemon in ["dockerd", "containerd"] {
            out(&["pkill", "-x", daemon]);
            wait_for("a daemon has ended", || {
                (Cmd::new("pgrep").args(&["-x", daemon]).run().status != 0).then_some(())
            });
        }
        fs::write("/etc/cni/net.d/10-lab.conflist", NETWORK).expect("write a network");
        fs::write(config, CONTAINERD).expect("write containerd's configuration");
        out(&["sharedroot", "install", "containerd"]);
        let text = fs::read_to_string(config).expect("read containerd's configuration");
        let class = include_str!("../../etc/kubernetes/runtimeclass.yaml");
        let handler =
            class.lines().find_map(|line| line.strip_prefix("handler: ")).expect("a handler");
        let table = format!("runtimes.{handler}]\n");
        let (before, ours) = text.split_once(&table).expect("the handler of the RuntimeClass");
        fs::write(config, format!("{before}{table}{ANNOTATIONS}{ours}")).expect("write");
        out(&["systemctl", "start", "containerd"]);
        out(&["ctr", "--namespace=k8s.io", "images", "import", &tar]);
        wait_for("the CRI plugin knows the images", || {
            let images = cri(&["images"]).ok();
            ["pause", "busybox"]
                .iter()
                .all(|name| images.contains(&format!("/{name}:")))
                .then_some(())
        });
    });
}

/// The client.
#[track_caller]
pub fn cri(words: &[&str]) -> Output {
    Cmd::new(CLIENT[1]).args(words).run()
}

/// A pod. Dropping it stops and removes it, with its containers.
#[derive(Debug)]
pub struct Pod {
    /// The sandbox's ID.
    pub id: String,
    /// Its files: what was asked for, the containers' logs, and what a test mounts.
    pub dir: TempDir,
    slice: String,
}

impl Pod {
    /// By the runtime handler, as `edit` leaves its configuration.
    #[track_caller]
    pub fn new(handler: &str, edit: impl FnOnce(&mut Value)) -> Self {
        node();
        let (name, dir) = (unique_name("pod"), TempDir::new("pod"));
        let slice = format!("kubepods-{}.slice", name.replace('-', "_"));
        // A kubelet's: processes of their own in each container, and a slice of its own.
        let mut config = json!({
            "metadata": {"name": name, "uid": name, "namespace": "default", "attempt": 0},
            "log_directory": dir.str(), "annotations": {},
            "linux": {"cgroup_parent": format!("/kubepods.slice/{slice}"), "security_context": {
                "namespace_options": {"network": NODE, "pid": CONTAINER}, "seccomp": {"profile_type": 0}}},
        });
        edit(&mut config);
        fs::write(dir.0.join("pod.json"), config.to_string()).expect("write a pod's configuration");
        let file = format!("{}/pod.json", dir.str());
        let id = cri(&["runp", "--runtime", handler, &file]).ok();
        Self { id, dir, slice }
    }

    /// With `hostNetwork: true`, for a network takes longer to make than all the rest of a pod.
    #[track_caller]
    pub fn plain(handler: &str) -> Self {
        Self::new(handler, |_| ())
    }

    /// With a network and a name of its own.
    #[track_caller]
    pub fn networked(handler: &str) -> Self {
        Self::new(handler, |config| {
            config["hostname"] = config["metadata"]["name"].clone();
            config["linux"]["security_context"]["namespace_options"]["network"] = POD.into();
        })
    }

    /// `inspectp`
    #[track_caller]
    pub fn inspect(&self) -> Value {
        cri(&["inspectp", &self.id]).json()
    }

    /// The pause process.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        number(&self.inspect()["info"]["pid"])
    }

    /// A container that is not started yet, of busybox, as `edit` leaves its configuration.
    #[track_caller]
    pub fn create(&self, edit: impl FnOnce(&mut Value)) -> Container {
        let name = unique_name("container");
        let mut config = json!({
            "metadata": {"name": name, "attempt": 0}, "image": {"image": BUSYBOX}, "command": UNTIL_TERM,
            "log_path": format!("{name}.log"), "mounts": [],
            "linux": {"resources": {}, "security_context": {"readonly_rootfs": true,
                "namespace_options": {"network": NODE, "pid": CONTAINER}, "seccomp": {"profile_type": 0}}},
        });
        edit(&mut config);
        let file = format!("{}/{name}.json", self.dir.str());
        fs::write(&file, config.to_string()).expect("write a container's configuration");
        let id = cri(&["create", &self.id, &file, &format!("{}/pod.json", self.dir.str())]).ok();
        Container { id }
    }

    /// A container that runs, read-only or writable, as `edit` leaves its configuration.
    #[track_caller]
    pub fn run(&self, readonly: bool, edit: impl FnOnce(&mut Value)) -> Container {
        let container = self.create(|config| {
            config["linux"]["security_context"]["readonly_rootfs"] = readonly.into();
            edit(config);
        });
        cri(&["start", &container.id]).ok();
        container
    }

    /// Stops and removes it, which must succeed.
    #[track_caller]
    pub fn end(mut self) {
        let id = std::mem::take(&mut self.id);
        for verb in ["stopp", "rmp"] {
            cri(&[verb, &id]).ok();
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for verb in ["stopp", "rmp"].iter().filter(|_| !self.id.is_empty()) {
            cri(&[verb, &self.id]);
        }
        // The slice is a kubelet's own work.
        Cmd::new("systemctl").args(&["stop", &self.slice]).run();
    }
}

/// A container of a pod, which removes it.
#[derive(Debug)]
pub struct Container {
    /// Its ID.
    pub id: String,
}

impl Container {
    /// `exec -s`
    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> Output {
        cri(&[&["exec", "-s", &self.id], command].concat())
    }

    /// A shell's output.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.exec(&["sh", "-c", script]).ok()
    }

    /// `inspect`
    #[track_caller]
    pub fn inspect(&self) -> Value {
        cri(&["inspect", &self.id]).json()
    }

    /// Its process.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        number(&self.inspect()["info"]["pid"])
    }

    /// Waits until it says that it is ready: a shell has set its trap by then.
    #[track_caller]
    pub fn is_ready(self) -> Self {
        wait_for("the container is ready", || {
            cri(&["logs", &self.id]).ok().contains("ready").then_some(())
        });
        self
    }

    /// Waits for its end; the exit code and the reason.
    #[track_caller]
    pub fn end(&self) -> (i32, String) {
        wait_for("the container has ended", || {
            let status = self.inspect()["status"].take();
            let reason = status["reason"].as_str().unwrap_or_default().to_owned();
            (status["state"] == "CONTAINER_EXITED").then(|| (number(&status["exitCode"]), reason))
        })
    }
}

#[track_caller]
fn number(value: &Value) -> i32 {
    value
        .as_i64()
        .and_then(|n| i32::try_from(n).ok())
        .unwrap_or_else(|| panic!("no number: {value}"))
}
