//! `sharedroot pool watch` while a container fills the pool.
//!
//! Guest: --no-docker --takes 30

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Stdio};

use sharedroot_tests::command::unique_name;
use sharedroot_tests::lab::{TempDir, wait_for};
use sharedroot_tests::pool::{Device, NoPool, has, pool, small_bases, status};
use sharedroot_tests::runtime::{Container, Runtime};
use sharedroot_tests::stack::Image;

/// `sharedroot pool watch` in the background; what it says is in a file.
struct Watch {
    child: Child,
    dir: TempDir,
}

impl Watch {
    #[track_caller]
    fn start() -> Self {
        let dir = TempDir::new("watch");
        let said = File::create(dir.0.join("stderr")).expect("create a file");
        let child = Command::new("sharedroot")
            .args(["--debug", "pool", "watch"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .expect("start sharedroot");
        Self { child, dir }
    }

    fn said(&self) -> String {
        fs::read_to_string(self.dir.0.join("stderr")).expect("read a file")
    }

    fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("asked")
    }

    /// Deactivating the pool must end it.
    #[track_caller]
    fn ends_with_the_pool(mut self) {
        assert!(self.has_ended().is_none(), "it goes on watching: {}", self.said());
        pool(&["deactivate"]).ok();
        let ended = wait_for("the watcher ends with the pool", || self.has_ended());
        assert!(ended.success(), "{ended}: {}", self.said());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Has the container write so many times 8 MiB, each as soon as the pool has room for it: how fast a watcher is on a busy machine
/// is not asked here. Without one there would be none in the end.
#[track_caller]
fn fill(container: &Container<'_>, times: u32) {
    for time in 0..times {
        wait_for("the pool has room for 8 MiB and what the file system needs besides", || {
            let data = status()["data"].take();
            let [total, used] =
                ["total_bytes", "used_bytes"].map(|key| data[key].as_u64().expect("bytes"));
            (used + (12 << 20) <= total).then_some(())
        });
        let write = format!("busybox dd if=/dev/zero of=/tmp/{time} bs=1M count=8 && busybox sync");
        let filled = container.exec(&[], &["sh", "-c", &write]);
        assert_eq!(filled.status, 0, "{filled}{}", status());
    }
}

/// Has it write 1 MiB more.
#[track_caller]
fn append(container: &Container<'_>) {
    let words = "busybox dd if=/dev/zero bs=1M count=1 2>/dev/null >> /tmp/more && busybox sync";
    container.exec(&[], &["sh", "-c", words]).ok();
}

#[test]
fn vm_watch_grows_the_pool_while_a_container_fills_it() {
    let no_pool = NoPool::at_first();
    let _config = small_bases();
    pool(&["create", "--loop-size", "192M"]).ok();
    let watch = Watch::start();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = image.bundle(&runtime, false, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    // 320 MiB do not fit into 192; without the watcher only a new volume makes the pool grow.
    fill(&container, 40);
    let total = status()["data"]["total_bytes"].as_u64().expect("a size");
    assert!(total > 320 << 20, "{total}");
    has(&watch.said(), &["the pool runs low and grows", "288 MiB"]);
    drop(container);
    watch.ends_with_the_pool();
    pool(&["destroy", "--force"]).ok();
    drop((bundle, image, runtime));
    no_pool.again();
}

#[test]
fn vm_watch_warns_of_devices() {
    let no_pool = NoPool::at_first();
    let _config = small_bases();
    let (data, metadata) = (Device::new("192M"), Device::new("32M"));
    pool(&["create", "--data-dev", &data.node, "--metadata-dev", &metadata.node]).ok();
    let watch = Watch::start();
    let (runtime, image) = (Runtime::sharedroot(), Image::new());
    let bundle = image.bundle(&runtime, false, &["sleep", "1000"]);
    let container = runtime.start(&bundle);
    fill(&container, 10);
    assert!(!watch.said().contains("runs low"), "{}: {}", status(), watch.said());
    // The file system of the snapshot and the base take some of the rest.
    while status()["data"]["percent"].as_u64().expect("a figure") <= 90 {
        append(&container);
    }
    wait_for("the watcher warns", || watch.said().contains("the pool runs low").then_some(()));
    has(&watch.said(), &["sharedroot pool grow"]);
    // What needs a new volume is refused, until the devices are larger.
    let second = image.bundle(&runtime, false, &["cat", "/etc/unique"]);
    let run = || runtime.cmd(&["run", "--bundle", second.str(), &unique_name("c")]).run();
    has(&run().fails(1), &["default", "full", &data.node, "sharedroot pool grow"]);
    data.enlarge("512M");
    pool(&["grow"]).ok();
    assert_eq!(run().ok(), image.name);
    drop(container);
    watch.ends_with_the_pool();
    pool(&["destroy", "--force"]).ok();
    drop((bundle, second, image, runtime, data, metadata));
    no_pool.again();
}
