//! The machines that the suites run on: a guest of the lab, or this machine itself.

use std::fs;
use std::path::Path;

use sharedroot_tests::command::{Cmd, run};

use crate::runtime::Runtime;
use crate::suites::Suite;

/// The machine that a suite runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A guest of the lab: cgroup v2, device-mapper.
    Lab,
    /// This machine as it is.
    Native,
}

impl Place {
    /// The machine's name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lab => "lab",
            Self::Native => "native",
        }
    }
}

/// The versions on the machine that this process runs on, a line each. `validation` is the directory of the validation suite.
pub fn versions(suite: Suite, runtime: &Runtime, validation: &Path) -> Vec<String> {
    let kernel =
        fs::read_to_string("/proc/sys/kernel/osrelease").expect("read the kernel's release");
    // The words behind the version are a name that the builder chose.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    let kernel = format!("Linux {kernel} with {}", cgroup_version());
    let mut versions = vec![kernel, runtime.version()];
    if let Some((program, words)) = suite.version.split_first() {
        let said = Cmd::new(program).args(words).dir(validation).run().ok();
        versions.extend(said.lines().next().map(str::to_owned));
    }
    versions
}

/// The cgroup hierarchies, which decide what a controller can do.
fn cgroup_version() -> &'static str {
    let kind = run(&["stat", "--file-system", "--format=%T", "/sys/fs/cgroup"]).ok();
    if kind == "cgroup2fs" { "cgroup v2" } else { "cgroup v1" }
}
