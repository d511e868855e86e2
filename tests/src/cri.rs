//! A Kubernetes node without its kubelet: containerd as a service of systemd, with its CRI plugin, and pods as a kubelet
//! creates them. The client is `hack/cri.d`, which takes the same commands as crictl.

use std::fs;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::command::{Cmd, Output, out, unique_name};
use crate::engines::has_containerd_2;
use crate::lab::{TempDir, only_in_lab, wait_for};
use crate::{shim, snapshotter};

/// `NamespaceMode` of the API: the owner of a container's namespace. This is the pod.
pub const POD: i32 = 0;
/// See [`POD`]: the container.
pub const CONTAINER: i32 = 1;
/// See [`POD`]: the host.
pub const NODE: i32 = 2;

/// The image of the containers.
pub const BUSYBOX: &str = "docker.io/library/busybox:latest";
/// A command that ends with 7 on TERM. It does not fork while a signal comes, because User-Mode Linux panics if a signal
/// interrupts a fork.
pub const UNTIL_TERM: [&str; 3] = ["sh", "-c", "trap 'exit 7' TERM; sleep 1000 & echo ready; wait"];
/// The client beside the test's executable, and its copy. Programs start slowly from the shared directory.
const CLIENT: [&str; 2] = ["/share/client/cri", "/usr/local/bin/cri"];

const CONFIG: &str = "/etc/containerd/config.toml";
/// Debian's configuration, and what a node adds: the pause image, and kubelet's default cgroup driver.
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
/// The same for containerd 2.
const CONTAINERD_2: &str = r#"version = 3

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "docker.io/library/pause:latest"

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "/etc/cni/net.d"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = true
"#;
/// The configuration that docs/kubernetes.md tells an administrator to add, so that pods can choose the runtime.
const ANNOTATIONS: &str = "pod_annotations = [\"dev.sharedroot.*\"]\n";
/// The network's configuration: a bridge, without iptables.
const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "lab", "plugins": [{"type": "bridge", "bridge": "cri0",
    "isGateway": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]]}}]}"#;

/// Makes the guest a node, if it is not one.
#[track_caller]
pub fn node() {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        only_in_lab();
        fs::copy(CLIENT[0], CLIENT[1]).expect("copy the client; hack/cri.d/build makes it");
        let dir = TempDir::new("images");
        let tar = format!("{}/tar", dir.str());
        out(&["docker", "save", "--output", &tar, "pause", "busybox"]);
        // The daemons of the lab, which are not services.
        for daemon in ["dockerd", "containerd"] {
            out(&["pkill", "-x", daemon]);
            wait_for("a daemon has ended", || {
                (Cmd::new("pgrep").args(&["-x", daemon]).run().status != 0).then_some(())
            });
        }
        fs::write("/etc/cni/net.d/10-lab.conflist", NETWORK).expect("write a network");
        let text = if has_containerd_2() { CONTAINERD_2 } else { CONTAINERD };
        fs::write(CONFIG, text).expect("write containerd's configuration");
        let shim = shim::is_meant().then(shim::install_program).map(|()| "--shim");
        let install = ["sharedroot", "install", "containerd"].into_iter().chain(shim);
        out(&install.collect::<Vec<_>>());
        let text = fs::read_to_string(CONFIG).expect("read containerd's configuration");
        let class = include_str!("../../etc/kubernetes/runtimeclass.yaml");
        let handler =
            class.lines().find_map(|line| line.strip_prefix("handler: ")).expect("a handler");
        let table = format!("runtimes.{handler}]\n");
        let (before, ours) = text.split_once(&table).expect("the handler of the RuntimeClass");
        fs::write(CONFIG, format!("{before}{table}{ANNOTATIONS}{ours}")).expect("write");
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

/// Makes the guest a node whose handler of sharedroot has the snapshotter of sharedroot.
#[track_caller]
pub fn node_on_the_snapshotter() {
    node();
    let text = fs::read_to_string(CONFIG).expect("read containerd's configuration");
    let (before, after) = text.split_once(ANNOTATIONS).expect("the handler");
    let line = "snapshotter = \"sharedroot\"\n";
    let plugin = snapshotter::proxy_plugin();
    fs::write(CONFIG, format!("{before}{ANNOTATIONS}{line}{after}\n{plugin}")).expect("write");
    out(&["systemctl", "restart", "containerd"]);
    snapshotter::is_listed();
    wait_for("the CRI plugin answers", || (cri(&["ps"]).status == 0).then_some(()));
}

/// The client.
#[track_caller]
pub fn cri(words: &[&str]) -> Output {
    Cmd::new(CLIENT[1]).args(words).run()
}

/// A pod. Dropping this value stops and removes the pod with its containers.
#[derive(Debug)]
pub struct Pod {
    /// The sandbox's ID.
    pub id: String,
    /// The pod's files: its configuration, the logs of the containers, and files that a test mounts.
    pub dir: TempDir,
    slice: String,
}

impl Pod {
    /// Runs a pod with the runtime handler, and with the configuration that `edit` changes.
    #[track_caller]
    pub fn new(handler: &str, edit: impl FnOnce(&mut Value)) -> Self {
        node();
        let (name, dir) = (unique_name("pod"), TempDir::new("pod"));
        let slice = format!("kubepods-{}.slice", name.replace('-', "_"));
        // As a kubelet does: a PID namespace for each container, and a slice for the pod.
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

    /// Runs a pod with `hostNetwork: true`, because a network takes longer to make than the rest of a pod.
    #[track_caller]
    pub fn plain(handler: &str) -> Self {
        Self::new(handler, |_| ())
    }

    /// Runs a pod with a network and a hostname.
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

    /// The PID of the pause process.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        number(&self.inspect()["info"]["pid"])
    }

    /// Creates a container of busybox, with the configuration that `edit` changes. Does not start it.
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

    /// Starts a container, read-only or writable, with the configuration that `edit` changes.
    #[track_caller]
    pub fn run(&self, readonly: bool, edit: impl FnOnce(&mut Value)) -> Container {
        let container = self.create(|config| {
            config["linux"]["security_context"]["readonly_rootfs"] = readonly.into();
            edit(config);
        });
        cri(&["start", &container.id]).ok();
        container
    }

    /// Stops and removes the pod, which must succeed.
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
        // A kubelet removes the slice itself.
        Cmd::new("systemctl").args(&["stop", &self.slice]).run();
    }
}

/// A container of a pod. The pod removes it.
#[derive(Debug)]
pub struct Container {
    /// The container's ID.
    pub id: String,
}

impl Container {
    /// `exec -s`
    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> Output {
        cri(&[&["exec", "-s", &self.id], command].concat())
    }

    /// The output of a shell command in the container.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.exec(&["sh", "-c", script]).ok()
    }

    /// `inspect`
    #[track_caller]
    pub fn inspect(&self) -> Value {
        cri(&["inspect", &self.id]).json()
    }

    /// The PID of the container's init process.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        number(&self.inspect()["info"]["pid"])
    }

    /// Waits until the container prints that it is ready, which it does after its shell has set a trap.
    #[track_caller]
    pub fn is_ready(self) -> Self {
        wait_for("the container is ready", || {
            cri(&["logs", &self.id]).ok().contains("ready").then_some(())
        });
        self
    }

    /// Waits for the container's end, and returns the exit code and the reason.
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
