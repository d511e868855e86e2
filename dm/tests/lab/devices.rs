//! Block devices for one test: sparse files on loop devices, with linear dm devices over them if they must be truncated or
//! enlarged.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use sharedroot_dm::Bytes;

use super::run;

/// A sparse file on a loop device. Dropping this value detaches and removes the file.
pub(crate) struct Disk {
    file: PathBuf,
    pub(crate) node: PathBuf,
}

impl Disk {
    pub(crate) fn new(name: &str, size: Bytes) -> Self {
        let dir = Path::new("/var/lib/sharedroot-test");
        std::fs::create_dir_all(dir).expect("a directory");
        let file = dir.join(format!("disk-{name}-{}", std::process::id()));
        File::create(&file).expect("a file").set_len(size.0).expect("a size");
        let node = run("losetup", &["--find", "--show", file.to_str().expect("text")]);
        Self { file, node: node.trim().into() }
    }

    pub(crate) fn text(&self) -> &str {
        self.node.to_str().expect("text")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", self.text()]).output();
        let _ = std::fs::remove_file(&self.file);
    }
}

/// A linear dm device over the first part of a disk.
pub(crate) struct Part {
    name: String,
    disk: Disk,
}

impl Part {
    pub(crate) fn new(name: &str, disk: Bytes, part: Bytes) -> Self {
        let disk = Disk::new(name, disk);
        let made = Self { name: format!("part-{name}-{}", std::process::id()), disk };
        run("dmsetup", &["create", &made.name, "--table", &made.table(part)]);
        made
    }

    fn table(&self, size: Bytes) -> String {
        format!("0 {} linear {} 0", size.0 / 512, self.disk.text())
    }

    pub(crate) fn node(&self) -> PathBuf {
        Path::new("/dev/mapper").join(&self.name)
    }

    pub(crate) fn resize(&self, size: Bytes) {
        run("dmsetup", &["reload", &self.name, "--table", &self.table(size)]);
        run("dmsetup", &["suspend", "--noflush", "--nolockfs", &self.name]);
        run("dmsetup", &["resume", &self.name]);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = Command::new("dmsetup").args(["remove", "--retry", &self.name]).output();
    }
}
