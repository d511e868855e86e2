//! `subPath` and `subPathExpr` of a pod's volume. A kubelet finds the file or directory below the volume without following a
//! link out of it, binds it below its own directory, and hands that place to the runtime
//! (kubernetes: pkg/volume/util/subpath, `doBindSubPath`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::cri::{Pod, cri};

use crate::HANDLERS;

/// A volume, and the binds of a kubelet. Dropping it takes them away.
struct SubPaths {
    volume: PathBuf,
    pod: PathBuf,
    binds: usize,
}

impl SubPaths {
    fn new() -> Self {
        let pod = PathBuf::from("/var/lib/kubelet/pods").join(unique_name("uid"));
        let volume = pod.join("volumes/kubernetes.io~local-volume/data");
        for dir in ["data/deep", "pod-a"] {
            fs::create_dir_all(volume.join(dir)).expect("make a directory of the volume");
        }
        for file in ["app.conf", "data/file", "data/deep/file", "pod-a/log"] {
            fs::write(volume.join(file), file).expect("write a file of the volume");
        }
        for (target, link) in [("/etc/hostname", "out"), ("../../../../etc", "data/up")] {
            symlink(target, volume.join(link)).expect("make a link in the volume");
        }
        Self { volume, pod, binds: 0 }
    }

    /// What the runtime gets for a `subPath`.
    fn bind(&mut self, path: &str) -> String {
        let source = self.volume.join(path);
        let place = self.pod.join("volume-subpaths/data/app").join(self.binds.to_string());
        self.binds += 1;
        if source.is_dir() {
            fs::create_dir_all(&place).expect("make a place");
        } else {
            fs::create_dir_all(place.parent().expect("a directory")).expect("make a directory");
            fs::write(&place, "").expect("make a place");
        }
        let (source, place) = (source.to_str().expect("text"), place.to_str().expect("text"));
        out(&["mount", "--bind", source, place]);
        place.to_owned()
    }

    fn mounts(&mut self) -> Value {
        let mut mount = |path: &str, at: &str, readonly: bool| json!({"host_path": self.bind(path), "container_path": at, "readonly": readonly});
        json!([
            mount("app.conf", "/etc/app.conf", false),
            mount("app.conf", "/etc/app/read-only.conf", true),
            mount("data", "/data", false),
            mount("data/deep", "/data/deep", true),
            // Of `subPathExpr: $(POD_NAME)`.
            mount("pod-a", "/var/log/app", false),
            mount("pod-a/log", "/etc/hosts.deny", false),
        ])
    }
}

impl Drop for SubPaths {
    fn drop(&mut self) {
        for bind in 0..self.binds {
            let place = self.pod.join("volume-subpaths/data/app").join(bind.to_string());
            out(&["umount", place.to_str().expect("text")]);
        }
        fs::remove_dir_all(&self.pod).expect("remove a kubelet's directory");
    }
}

/// What the container sees and does, a line each.
const SCRIPT: &str = "cat /etc/app.conf /etc/app/read-only.conf /data/file /data/deep/file /var/log/app/log /etc/hosts.deny; echo
    for file in /etc/app.conf /etc/app/read-only.conf /data/new /data/deep/new /var/log/app/new /etc/hosts.deny; do
        (echo wrote > $file) 2> /dev/null && echo $file || echo not $file
    done
    readlink /data/up; ls -d /data/up/passwd /data/up/hostname
    cat /proc/self/mountinfo | grep -e ' /etc/app' -e ' /data' -e ' /var/log' -e ' /etc/hosts.deny' | cut -d ' ' -f 5,6 | sort";

fn seen(handler: &str, readonly: bool) -> String {
    let mut paths = SubPaths::new();
    let pod = Pod::plain(handler);
    let mounts = paths.mounts();
    let container = pod.run(readonly, |config| config["mounts"] = mounts);
    let mut lines = container.sh(SCRIPT);
    for file in ["app.conf", "data/new", "data/deep/new", "pod-a/new", "pod-a/log"] {
        let text = fs::read_to_string(paths.volume.join(file));
        lines += &format!("\n{file}: {}", text.unwrap_or_else(|_| "none".to_owned()));
    }
    // As after the volume's file was replaced by a rename: the container keeps the one that it has.
    fs::write(paths.volume.join("next"), "next").expect("write a file");
    let moved = fs::rename(paths.volume.join("next"), paths.volume.join("app.conf"));
    moved.expect("replace a file");
    lines += &format!("\n{}", container.sh("cat /etc/app.conf"));
    cri(&["stop", "--timeout", "0", &container.id]).ok();
    cri(&["rm", &container.id]).ok();
    pod.end();
    lines
}

#[test]
fn vm_sub_paths_are_those_of_runc() {
    for readonly in [true, false] {
        let [ours, runc] = HANDLERS.map(|handler| seen(handler, readonly));
        assert_eq!(ours, runc, "read-only root: {readonly}");
        assert!(ours.contains("not /data/deep/new") && ours.contains("\n/data/new"), "{ours}");
    }
}

/// A link in the volume that points out of it: a kubelet refuses it as a `subPath`, and follows it as a `hostPath`. What it means
/// in the container is the container's.
#[test]
fn vm_a_link_out_of_a_volume_leads_where_it_does_with_runc() {
    let both = HANDLERS.map(|handler| {
        let paths = SubPaths::new();
        let mount = |path: &str, at: &str| {
            let path = paths.volume.join(path);
            json!({"host_path": path, "container_path": at, "readonly": true})
        };
        let pod = Pod::plain(handler);
        let container = pod.run(true, |config| {
            config["mounts"] = json!([mount("out", "/etc/linked"), mount("", "/volume")]);
        });
        let seen =
            container.sh("cat /etc/linked; readlink /volume/out; cat /volume/out /etc/hostname");
        pod.end();
        seen
    });
    assert_eq!(both[0], both[1]);
}
