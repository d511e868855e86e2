//! Pods and their containers: which root each has, and what they have in common.

use std::fs;

use serde_json::{Value, json};
use sharedroot_tests::census::Census;
use sharedroot_tests::command::out;
use sharedroot_tests::cri::{NODE, POD, Pod};
use sharedroot_tests::documented::images;
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::wait_for;

use crate::HANDLERS;

fn namespace(pid: i32, name: &str) -> String {
    let link =
        fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("a namespace of a live process");
    link.to_string_lossy().into_owned()
}

/// How many containers share the base that is mounted as this device.
fn shared_by(id: &str) -> usize {
    let bases = images();
    let users = bases.iter().filter_map(|base| base["shared_by"].as_array());
    users.filter(|users| users.iter().any(|user| user.to_string().contains(id))).map(Vec::len).sum()
}

#[test]
fn vm_pods_share_what_they_do_not_write() {
    // Bases, the bridge and the slice of all pods stay.
    let first = Pod::networked("sharedroot");
    first.run(true, |_| ());
    first.end();
    let before = Census::take();
    let pods = [Pod::networked("sharedroot"), Pod::networked("sharedroot")];
    let pause = pods.each_ref().map(|pod| root_of(pod.pid()));
    for root in &pause {
        assert!(root.is_on_dm() && root.fstype == "ext4" && root.has("ro"), "{root:?}");
    }
    assert_eq!(pause[0].device, pause[1].device);
    assert_eq!(shared_by(&pods[0].id), 2);
    assert_eq!(pods[0].inspect()["status"]["runtimeHandler"], "sharedroot");
    // The other handler's pod beside them is none of ours.
    let other = Pod::networked("runc");
    assert!(!root_of(other.pid()).is_on_dm());
    let address = |pod: &Pod| pod.inspect()["status"]["network"]["ip"].as_str().map(str::to_owned);
    assert!(address(&pods[0]).is_some() && address(&pods[0]) != address(&other));

    let shared = [&pods[0], &pods[0], &pods[1]].map(|pod| pod.run(true, |_| ()));
    let private = pods.each_ref().map(|pod| pod.run(false, |_| ()));
    let [a, b, c] = shared.each_ref().map(|container| root_of(container.pid()));
    assert!(a.is_on_dm() && a.fstype == "ext4" && a.has("ro"), "{a:?}");
    assert_eq!([&b.device, &c.device], [&a.device; 2]);
    assert_ne!(a.device, pause[0].device, "the pause image has a base of its own");
    assert_eq!(shared_by(&shared[0].id), 3);
    let [d, e] = private.each_ref().map(|container| root_of(container.pid()));
    assert!(d.is_on_dm() && d.has("rw") && e.is_on_dm() && e.has("rw"), "{d:?} {e:?}");
    assert_ne!(d.device, e.device);
    let refused = shared[0].exec(&["touch", "/new"]).fails(1);
    assert!(refused.contains("Read-only file system"), "{refused}");
    private[0].sh("echo mine > /etc/new");
    assert_eq!(private[0].sh("cat /etc/new"), "mine");
    assert_eq!(private[1].sh("ls -d /etc/new 2>/dev/null || echo none"), "none");

    other.end();
    pods.into_iter().for_each(Pod::end);
    before.nothing_left();
}

/// The namespaces of a pod, its name, its address and its shared memory are the containers'.
#[test]
fn vm_containers_join_their_pod() {
    for handler in HANDLERS {
        let pod = Pod::networked(handler);
        let (one, other) = (pod.run(true, |_| ()), pod.run(false, |_| ()));
        for name in ["net", "ipc", "uts"] {
            let all = [pod.pid(), one.pid(), other.pid()].map(|pid| namespace(pid, name));
            assert!(all[0] == all[1] && all[0] == all[2], "{handler}: {name}: {all:?}");
            assert_ne!(all[0], namespace(1, name), "{handler}: {name} is the host's");
        }
        for name in ["pid", "mnt"] {
            let all = [pod.pid(), one.pid(), other.pid(), 1].map(|pid| namespace(pid, name));
            assert!((0..4).all(|i| !all[i + 1..].contains(&all[i])), "{handler}: {name}: {all:?}");
        }
        let status = pod.inspect()["status"].take();
        let ip = status["network"]["ip"].as_str().expect("an address").to_owned();
        one.sh("echo said > /dev/shm/file");
        let hostname = status["metadata"]["name"].as_str().expect("a name").to_owned();
        for container in [&one, &other] {
            assert_eq!(
                container.sh("hostname; cat /etc/hostname"),
                format!("{hostname}\n{hostname}"),
                "{handler}"
            );
            let addresses = container.sh("ip -o -4 address show dev eth0");
            assert!(addresses.contains(&format!("{ip}/24")), "{handler}: {addresses}");
            assert_eq!(container.sh("cat /dev/shm/file"), "said", "{handler}");
        }
    }
}

/// `shareProcessNamespace: true`: the pause process is everybody's init, and whoever a container leaves behind ends with it.
#[test]
fn vm_a_pod_with_one_process_namespace() {
    for handler in HANDLERS {
        let pod = Pod::new(handler, |pod| {
            pod["linux"]["security_context"]["namespace_options"]["pid"] = POD.into()
        });
        let join = |config: &mut Value| {
            config["linux"]["security_context"]["namespace_options"]["pid"] = POD.into();
            config["command"] = json!(["sh", "-c", "sleep 1234 & echo ready; exec sleep 1000"]);
        };
        let (one, other) = (pod.run(true, join).is_ready(), pod.run(false, join).is_ready());
        assert_eq!(namespace(one.pid(), "pid"), namespace(pod.pid(), "pid"), "{handler}");
        assert_eq!(other.sh("cat /proc/1/cmdline").trim_end_matches('\0'), "/pause", "{handler}");
        // A shell is ready before its children have executed their programs; what was killed ends a moment later.
        let left_behind = |wanted: usize| {
            wait_for(&format!("{handler}: {wanted} are left behind"), || {
                let look = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done";
                let found = other.sh(look).lines().filter(|line| *line == "sleep 1234 ").count();
                (found == wanted).then_some(())
            });
        };
        left_behind(2);
        out(&["kill", "-KILL", &one.pid().to_string()]);
        assert_eq!(one.end().0, 137, "{handler}");
        left_behind(1);
    }
}

/// `hostNetwork`, `hostPID`, `hostIPC`
#[test]
fn vm_a_pod_in_the_hosts_namespaces() {
    let options = json!({"network": NODE, "pid": NODE, "ipc": NODE});
    let edit = |config: &mut Value| {
        config["linux"]["security_context"]["namespace_options"] = options.clone();
    };
    let pod = Pod::new("sharedroot", edit);
    let pid = pod.run(true, edit).pid();
    for name in ["net", "pid", "ipc"] {
        assert_eq!(namespace(pid, name), namespace(1, name), "{name}");
    }
    assert!(root_of(pid).is_on_dm());
}

#[test]
fn vm_a_pods_annotations_choose_where_containerd_passes_them() {
    let off =
        Pod::new("sharedroot", |pod| pod["annotations"]["dev.sharedroot.mode"] = "off".into());
    for pid in [off.pid(), off.run(false, |_| ()).pid()] {
        assert_eq!(root_of(pid).fstype, "overlay");
    }
    let small =
        Pod::new("sharedroot", |pod| pod["annotations"]["dev.sharedroot.size"] = "1G".into());
    let free = |readonly| {
        let text = small.run(readonly, |_| ()).sh("df -k / | tail -n 1");
        text.split_whitespace().nth(3).and_then(|k| k.parse::<u64>().ok()).expect("a size")
    };
    let (private, base) = (free(false), free(true));
    assert!(private <= 1 << 20 && base > 2 << 20, "{private} KiB, {base} KiB");
}
