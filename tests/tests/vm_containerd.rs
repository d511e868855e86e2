//! containerd without Docker: its overlayfs snapshotter's layers identify the image.
//!
//! Guest: --selinux enforcing --boolean container_use_host_all_caps --limit 1200 --shim long

use sharedroot_tests::census::Census;
use sharedroot_tests::command::{Cmd, out, unique_name};
use sharedroot_tests::docker::ctr_runtime;
use sharedroot_tests::documented::images;
use sharedroot_tests::kernel_view::root_of;
use sharedroot_tests::lab::{TempDir, wait_for};

const IMAGE: &str = "docker.io/library/busybox:latest";

fn ctr(words: &[&str]) -> String {
    Cmd::new("ctr").args(words).run().ok()
}

/// Brings Docker's busybox into containerd's own store.
fn import() {
    let dir = TempDir::new("image");
    let tar = dir.0.join("busybox.tar");
    let tar = tar.to_str().expect("a path of text");
    out(&["docker", "save", "-o", tar, "busybox"]);
    ctr(&["image", "import", tar]);
}

/// A running container; dropping it removes it.
struct Task(String);

impl Task {
    fn new(flags: &[&str]) -> Self {
        let task = Self(unique_name("ctr"));
        let runtime = ctr_runtime("sharedroot");
        let words = [IMAGE, &task.0, "sleep", "1000"];
        ctr(&[&["run", "-d", &runtime[0], &runtime[1]], flags, &words].concat());
        task
    }

    fn pid(&self) -> i32 {
        let list = ctr(&["task", "list"]);
        let line = list.lines().find(|line| line.starts_with(&self.0)).expect("the task");
        line.split_whitespace().nth(1).and_then(|pid| pid.parse().ok()).expect("a pid")
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        Cmd::new("ctr").args(&["task", "rm", "--force", &self.0]).run();
        Cmd::new("ctr").args(&["container", "rm", &self.0]).run();
    }
}

#[test]
fn vm_containers_of_containerd_share_one_base() {
    import();
    drop(Task::new(&["--read-only"]));
    let before = Census::take();
    let tasks = [Task::new(&["--read-only"]), Task::new(&["--read-only"])];
    let roots = tasks.each_ref().map(|task| root_of(task.pid()));
    for root in &roots {
        assert!(root.is_on_dm() && root.fstype == "ext4" && root.has("ro"), "{root:?}");
    }
    assert_eq!(roots[0].device, roots[1].device);
    let list = images();
    let users = |key: &str| list[0][key].as_array().map_or(0, Vec::len);
    assert_eq!((list.len(), users("shared_by")), (1, 2), "{list:#?}");
    drop(tasks);
    wait_for("containerd has cleaned up", || {
        out(&["ctr", "task", "list", "-q"]).is_empty().then_some(())
    });
    before.nothing_left();
}

#[test]
fn vm_a_base_in_use_stays_and_an_unused_one_goes() {
    import();
    let task = Task::new(&["--read-only"]);
    let key = images()[0]["key"].as_str().expect("a key").to_owned();
    let refused = Cmd::new("sharedroot").args(&["image", "rm", &key]).run();
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains(&task.0), "{refused}");
    drop(task);
    out(&["sharedroot", "image", "rm", &key[..12]]);
    assert!(images().is_empty());
    // And the next container makes it anew.
    let again = Task::new(&["--read-only"]);
    assert!(root_of(again.pid()).is_on_dm());
}
