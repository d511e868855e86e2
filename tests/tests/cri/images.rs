//! Images as a kubelet counts and removes them.

use std::fs;

use sharedroot_tests::bundle::make_rootfs;
use sharedroot_tests::command::{out, unique_name};
use sharedroot_tests::cri::{Pod, cri, node};
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::layout::Layout;

/// An image that nothing else has.
fn import() -> String {
    node();
    let (name, dir) = (unique_name("image"), TempDir::new("rootfs"));
    let rootfs = dir.0.join("rootfs");
    make_rootfs(&rootfs);
    fs::write(rootfs.join("etc/unique"), &name).expect("write a file of the rootfs");
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.append_dir_all(".", &rootfs).expect("write into memory");
    let layout = Layout::plain(&[tar.into_inner().expect("end a tar")]);
    let (file, name) = (format!("{}/tar", dir.str()), format!("docker.io/library/{name}:latest"));
    out(&["tar", "--create", "--file", &file, "--directory", layout.str(), "."]);
    out(&["ctr", "--namespace=k8s.io", "images", "import", "--index-name", &name, &file]);
    wait_for("the CRI plugin knows the image", || {
        cri(&["images"]).ok().contains(&name).then_some(())
    });
    name
}

#[test]
fn vm_a_removed_images_base_is_gcs() {
    let image = import();
    let pod = Pod::plain("sharedroot");
    let container = pod.run(true, |config| config["image"]["image"] = (&*image).into());
    assert!(image.contains(&container.sh("cat /etc/unique")));
    let unwanted = || out(&["sharedroot", "gc", "--dry-run"]).matches("its image is gone").count();
    assert_eq!(unwanted(), 0);
    pod.end();
    cri(&["rmi", &image]).ok();
    wait_for("containerd has removed the layers", || (unwanted() == 1).then_some(()));
    out(&["sharedroot", "gc"]);
    assert_eq!(unwanted(), 0);
}

/// What a kubelet counts as a container's ephemeral storage, as docs/kubernetes.md tells it.
#[test]
fn vm_what_a_container_writes_is_counted_when_it_has_ended() {
    let pod = Pod::plain("sharedroot");
    let container = pod.run(false, |_| ()).is_ready();
    container.sh("dd if=/dev/zero of=/big bs=1M count=8 2>/dev/null; sync");
    let used = || {
        let usage = out(&["ctr", "--namespace=k8s.io", "snapshots", "usage", "-b", &container.id]);
        let line = usage.lines().nth(1).expect("a line").to_owned();
        line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("bytes")
    };
    assert!(used() < 1 << 20, "{}", used());
    cri(&["stop", "-timeout", "60", &container.id]).ok();
    wait_for("it is written back", || (used() >= 8 << 20).then_some(()));
}
