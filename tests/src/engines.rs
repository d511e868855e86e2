//! Which containerd the guest has: that of Debian 13, or with `--engines unstable` containerd 2.

use std::sync::OnceLock;

use crate::command::out;

/// Whether the guest's containerd is containerd 2, whose configuration has version 3.
#[track_caller]
pub fn has_containerd_2() -> bool {
    static MAJOR: OnceLock<u32> = OnceLock::new();
    let major = MAJOR.get_or_init(|| {
        // containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6
        let said = out(&["containerd", "--version"]);
        let version = said.split_whitespace().nth(2).and_then(|version| version.split('.').next());
        version.and_then(|major| major.parse().ok()).unwrap_or_else(|| panic!("{said}"))
    });
    *major >= 2
}
