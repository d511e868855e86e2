//! The pool, checked and removed without sharedroot, and block devices for a pool.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::census::Census;
use crate::command::{Cmd, Output, out, run};
use crate::documented;
use crate::kernel_view::root_of;
use crate::lab::{RUN_DIR, Replaced, STATE_DIR, TempDir, only_in_lab};
use crate::runtime::Runtime;
use crate::stack::Image;

/// The configuration file. The guest has none except the file that a test writes.
pub const CONFIG: &str = "/etc/sharedroot/config.toml";
/// The metadata file of a pool on loop files.
pub const METADATA: &str = "/var/lib/sharedroot/default.metadata";

/// `sharedroot pool WORDS…`
#[track_caller]
pub fn pool(words: &[&str]) -> Output {
    Cmd::new("sharedroot").arg("pool").args(words).run()
}

/// Runs `sharedroot pool WORDS…`, which must fail, and returns its standard error.
#[track_caller]
pub fn refused(words: &[&str]) -> String {
    let output = pool(words);
    assert_eq!(output.status, 1, "{output}");
    assert_eq!(output.stderr.matches("sharedroot: error:").count(), 1, "one error: {output}");
    output.stderr
}

/// `pool status --json`
#[track_caller]
pub fn status() -> Value {
    documented::json("pool status", &[])
}

/// Checks that every word is in the text.
#[track_caller]
pub fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

/// Whether the pool is active.
pub fn is_active() -> bool {
    run(&["dmsetup", "status", "sharedroot-default"]).status == 0
}

/// A small base, so that a test's metadata is small.
#[track_caller]
pub fn small_bases() -> Replaced {
    Replaced::with(CONFIG, "[base]\nsize = \"1G\"\n")
}

/// Runs a container of the image on the pool, which must succeed.
#[track_caller]
pub fn runs(runtime: &Runtime, image: &Image) {
    for readonly in [true, false] {
        let bundle = image.bundle(runtime, readonly, &["sleep", "1000"]);
        let container = runtime.start(&bundle);
        assert_eq!(container.exec(&[], &["cat", "/etc/unique"]).ok(), image.name);
        assert!(root_of(container.pid()).is_on_dm());
    }
}

/// Removes everything that a reboot removes: devices, loop devices, mounts of bases and `/run/sharedroot`. The pool's metadata
/// is sound, but sharedroot has not deactivated the pool.
#[track_caller]
pub fn reboot() {
    only_in_lab();
    let script = "set -e
        for m in /run/sharedroot/base/*; do ! mountpoint -q $m || umount $m; done
        for target in thin thin-pool; do
            dmsetup ls --target $target | while read name rest; do
                case $name in sharedroot-*) dmsetup remove $name ;; esac
            done
        done
        losetup --noheadings --output NAME,BACK-FILE | while read node file; do
            case $file in /var/lib/sharedroot/*) losetup --detach $node ;; esac
        done
        rm -rf /run/sharedroot/*";
    out(&["sh", "-c", script]);
}

/// The machine without a pool, at the beginning and at the end of a test.
#[derive(Debug)]
pub struct NoPool(Census);

impl NoPool {
    /// Removes what an earlier test may have left.
    #[track_caller]
    pub fn at_first() -> Self {
        reboot();
        for entry in fs::read_dir(STATE_DIR).expect("list the state directory").flatten() {
            if entry.file_name() != "lost+found" {
                fs::remove_file(entry.path()).expect("remove a file of the pool");
            }
        }
        Self(Census::take())
    }

    /// Checks that the pool is gone, with everything except the store and empty directories.
    ///
    /// # Panics
    /// If something is left; the message names it.
    #[track_caller]
    pub fn again(self) {
        let store = format!("left over: file {STATE_DIR}/store");
        let run_dir = format!("left over: file {RUN_DIR}/");
        let passing = |line: &str| {
            line.starts_with(&store)
                || line
                    .strip_prefix(&run_dir)
                    .is_some_and(|rest| Path::new(RUN_DIR).join(rest).is_dir())
        };
        self.0.nothing_left_but(passing);
    }
}

/// An empty block device: a file on a loop device. Dropping this value removes both.
#[derive(Debug)]
pub struct Device {
    /// `/dev/loopN`
    pub node: String,
    file: TempDir,
}

impl Device {
    /// A device of `size`, in the form that truncate(1) takes.
    #[track_caller]
    pub fn new(size: &str) -> Self {
        let dir = TempDir::new("device");
        let file = format!("{}/file", dir.str());
        out(&["truncate", "-s", size, &file]);
        Self { node: out(&["losetup", "--find", "--show", &file]), file: dir }
    }

    /// Makes the device larger.
    #[track_caller]
    pub fn enlarge(&self, size: &str) {
        out(&["truncate", "-s", size, &format!("{}/file", self.file.str())]);
        out(&["losetup", "--set-capacity", &self.node]);
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let detached = run(&["losetup", "--detach", &self.node]);
        if detached.status != 0 {
            eprintln!("{detached}");
        }
    }
}
