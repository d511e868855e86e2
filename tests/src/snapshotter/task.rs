//! Containers of ctr's on a snapshotter.

use crate::command::{out, unique_name};
use crate::kernel_view::{Mount, mounts_of};
use crate::lab::{RUN_DIR, TempDir};
use crate::shim::ctr;

/// The image of the containers.
pub const IMAGE: &str = "docker.io/library/redis:latest";

/// Brings the image from Docker into containerd's store, unpacked by a snapshotter.
#[track_caller]
pub fn import(snapshotter: &str) {
    let dir = TempDir::new("image");
    let tar = dir.0.join("image.tar");
    let tar = tar.to_str().expect("a path of text");
    out(&["docker", "save", "-o", tar, "redis"]);
    ctr(&["image", "import", "--snapshotter", snapshotter, tar]).ok();
}

/// A running container of ctr's. Dropping this value removes it.
#[derive(Debug)]
pub struct Task(pub String);

impl Task {
    /// `ctr run -d`.
    #[track_caller]
    pub fn run(snapshotter: &str, flags: &[&str]) -> Self {
        Self::of(IMAGE, snapshotter, flags)
    }

    /// The same with another image.
    #[track_caller]
    pub fn of(image: &str, snapshotter: &str, flags: &[&str]) -> Self {
        let task = Self(unique_name("share"));
        let run = ["run", "-d", "--snapshotter", snapshotter];
        ctr(&[&run[..], flags, &[image, &task.0, "sleep", "1000"]].concat()).ok();
        task
    }

    /// The init process.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let list = ctr(&["task", "ls"]).ok();
        let line = list.lines().find(|line| line.starts_with(&self.0)).expect("the task");
        line.split_whitespace().nth(1).and_then(|pid| pid.parse().ok()).expect("a pid")
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        ctr(&["task", "rm", "--force", &self.0]);
        ctr(&["container", "rm", &self.0]);
    }
}

/// The mounts of images that containers share, on the host.
#[track_caller]
pub fn bases() -> Vec<Mount> {
    let dir = format!("{RUN_DIR}/base/");
    mounts_of("self").into_iter().filter(|mount| mount.at.starts_with(&dir)).collect()
}
