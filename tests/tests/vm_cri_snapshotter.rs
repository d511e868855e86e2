//! Pods whose runtime handler has the snapshotter of sharedroot, served by containerd's shim of ours: their read-only containers share
//! the image's volume, and nothing of it is left when pods and images are removed. runc's handler beside it has overlayfs.
//!
//! Guest: --long --systemd --kernel-argument lsm=capability --with cri --with shim --with snapshotter --alone --limit 900 --takes 90 --env RUNTIME=shim --unstable plain

use std::fs;

use sharedroot_tests::census::{pools, thin_ids};
use sharedroot_tests::command::out;
use sharedroot_tests::cri::{Pod, cri, node_on_the_snapshotter};
use sharedroot_tests::kernel_view::{identity, root_of};
use sharedroot_tests::lab::wait_for;
use sharedroot_tests::snapshotter::{Snapshotter, bases};

/// The parent of a process.
#[track_caller]
fn parent(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
    line.expect("a parent").to_owned()
}

#[test]
fn vm_pods_share_the_images_of_the_snapshotter() {
    let _snapshotter = Snapshotter::start();
    node_on_the_snapshotter();
    let pods = [Pod::plain("sharedroot"), Pod::plain("sharedroot")];
    let [one, two] = pods.each_ref().map(|pod| pod.run(true, |_| ()).is_ready());
    assert_eq!(identity(one.pid(), "/bin/busybox"), identity(two.pid(), "/bin/busybox"));
    assert_eq!(root_of(pods[0].pid()).device, root_of(pods[1].pid()).device, "pause");
    // The image lacks mount points of a pod.
    let root = root_of(one.pid());
    assert!(root.has("ro") && root.super_options.contains("/run/sharedroot/base/"), "{root:?}");
    // The pause image, and that of the containers.
    assert_eq!(bases().len(), 2);
    // One server for each pod.
    assert_eq!(parent(one.pid()), parent(pods[0].pid()));
    assert_ne!(parent(one.pid()), parent(two.pid()));

    let own = pods[0].run(false, |_| ()).is_ready();
    own.sh("echo mine > /etc/mine");
    assert_ne!(root_of(own.pid()).device, root.device);
    assert!(root_of(own.pid()).is_on_dm());
    assert_eq!(two.sh("ls -d /etc/mine 2>/dev/null || echo none"), "none");
    let control = Pod::plain("runc");
    let theirs = control.run(true, |_| ()).is_ready();
    assert_eq!(root_of(theirs.pid()).fstype, "overlay");

    out(&["systemctl", "restart", "containerd"]);
    wait_for("containerd answers", || (cri(&["ps"]).status == 0).then_some(()));
    assert_eq!(own.sh("cat /etc/mine"), "mine");
    cri(&["stop", "-timeout", "60", &own.id]).ok();
    assert_eq!(own.end().0, 7);
    pods.into_iter().chain([control]).for_each(Pod::end);
    for image in ["busybox", "pause"] {
        cri(&["rmi", &format!("docker.io/library/{image}:latest")]).ok();
    }
    wait_for("no base is mounted, and only the empty file system is in the pool", || {
        (bases().is_empty() && thin_ids(&pools()[0]).len() == 1).then_some(())
    });
}
