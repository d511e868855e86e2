//! SELinux in a test: labels. `selinux/denials.rs` has denials, and SELinux's mode.

use std::fmt;
use std::fs;
use std::str::FromStr;

use crate::command::out;
use crate::docker::Container;
use crate::lab::only_in_lab;

mod denials;

pub use denials::{Avc, Denial, denials, only_selinux_denies, permissive};

/// The label of bases, which Debian's policy defines.
pub const SHARED: &str = "system_u:object_r:container_ro_file_t:s0";

const ENFORCE: &str = "/sys/fs/selinux/enforce";

/// Checks that SELinux enforces. This is the first line of a test that needs it.
///
/// # Panics
/// If SELinux does not enforce.
#[track_caller]
pub fn enforcing() {
    only_in_lab();
    let mode = fs::read_to_string(ENFORCE).unwrap_or_default();
    assert_eq!(mode, "1", "SELinux is not enforcing: run this by hack/test");
}

/// A label: `user:role:type:level`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context(String);

impl FromStr for Context {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // /proc/PID/attr/current ends with a NUL, and a command's output with a newline.
        let text = text.split(['\0', '\n']).next().unwrap_or_default();
        let fine = text.splitn(4, ':').filter(|part| !part.is_empty()).count() == 4;
        fine.then(|| Self(text.to_owned())).ok_or_else(|| format!("{text:?} is no label"))
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<&str> for Context {
    fn eq(&self, text: &&str) -> bool {
        self.0 == *text
    }
}

impl Context {
    /// Parses a label.
    ///
    /// # Panics
    /// If the text is not a label.
    #[track_caller]
    pub fn new(text: &str) -> Self {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    /// The label of a file of the host, or of a container's file below `/proc/PID/root`.
    #[track_caller]
    pub fn of_file(path: &str) -> Self {
        Self::new(&out(&["stat", "--format=%C", path]))
    }

    /// The label of a file as the process sees it.
    #[track_caller]
    pub fn seen_by(pid: i32, path: &str) -> Self {
        Self::of_file(&format!("/proc/{pid}/root{path}"))
    }

    /// The label of a container's file, as the container sees it.
    #[track_caller]
    pub fn in_container(container: &Container, path: &str) -> Self {
        Self::seen_by(container.pid(), path)
    }

    /// The label of a process.
    #[track_caller]
    pub fn of_process(pid: i32) -> Self {
        let path = format!("/proc/{pid}/attr/current");
        Self::new(&fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path}: {e}")))
    }

    /// The process label that Docker chose for the container.
    #[track_caller]
    pub fn of_processes(container: &Container) -> Self {
        Self::new(&container.inspect(".ProcessLabel"))
    }

    /// The mount label that Docker chose for the container.
    #[track_caller]
    pub fn of_mounts(container: &Container) -> Self {
        Self::new(&container.inspect(".MountLabel"))
    }

    /// The type, such as `container_t`.
    pub fn kind(&self) -> &str {
        self.0.split(':').nth(2).unwrap_or_default()
    }

    /// The level, such as `s0:c1,c2`.
    pub fn level(&self) -> &str {
        self.0.splitn(4, ':').nth(3).unwrap_or_default()
    }
}
