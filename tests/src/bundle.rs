//! Bundles with the guest's static busybox, for a runtime that is called directly.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::lab::TempDir;
use crate::runtime::Runtime;

/// The path of busybox. It is static, so it runs on a root file system without libraries.
const BUSYBOX: &str = "/bin/busybox";
/// The programs that tests call by name.
const APPLETS: [&str; 14] = [
    "sh", "cat", "echo", "env", "false", "grep", "id", "ls", "mkdir", "pwd", "sleep", "touch",
    "true", "wc",
];

/// A directory with a rootfs and a config.json. Dropping this value removes the directory.
#[derive(Debug)]
pub struct Bundle {
    dir: TempDir,
}

impl Bundle {
    /// The runtime's own `spec`, without a terminal, with `command` as its process.
    #[track_caller]
    pub fn new(runtime: &Runtime, command: &[&str]) -> Self {
        let bundle = Self { dir: TempDir::new("bundle") };
        make_rootfs(&bundle.path().join("rootfs"));
        runtime.cmd(&["spec", "--bundle", bundle.str()]).run().ok();
        bundle.edit(|config| {
            config["process"]["terminal"] = json!(false);
            config["process"]["args"] = json!(command);
        });
        bundle
    }

    /// The bundle's directory.
    pub fn path(&self) -> &Path {
        &self.dir.0
    }

    /// The bundle's directory as text.
    pub fn str(&self) -> &str {
        self.dir.str()
    }

    /// The bundle's configuration.
    pub fn config_path(&self) -> PathBuf {
        self.path().join("config.json")
    }

    /// Changes the configuration.
    #[track_caller]
    pub fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.config_path();
        let text = fs::read_to_string(&path).expect("read config.json");
        let mut config = serde_json::from_str(&text).expect("config.json is JSON");
        change(&mut config);
        fs::write(&path, config.to_string()).expect("write config.json");
    }

    /// Adds a seccomp filter that allows everything except mkdir, which fails with ENOSYS, so that a test can see the filter's
    /// effect.
    #[track_caller]
    pub fn forbid_mkdir(&self) {
        self.edit(|config| {
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64"],
                "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }],
            });
        });
    }
}

/// Makes links from the names of programs to busybox, and the mount points that every container needs.
#[track_caller]
pub fn make_rootfs(rootfs: &Path) {
    for dir in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(rootfs.join(dir)).expect("make a directory of the rootfs");
    }
    fs::copy(BUSYBOX, rootfs.join("bin/busybox")).unwrap_or_else(|e| panic!("copy {BUSYBOX}: {e}"));
    for applet in APPLETS {
        symlink("busybox", rootfs.join("bin").join(applet)).expect("make a link of the rootfs");
    }
    fs::write(
        rootfs.join("etc/passwd"),
        "root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n",
    )
    .expect("write passwd");
    fs::write(rootfs.join("etc/group"), "root:x:0:\nuser:x:1000:\n").expect("write group");
}
