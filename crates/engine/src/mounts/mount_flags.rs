//! Options of a bind mount that clear a flag of the source's mount: `rw`, `suid`, `dev`, `exec`. The engine only sets
//! flags, so sharedroot binds such a volume before the engine does.

use std::path::Path;

use libcontainer::syscall::linux::{
    MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY,
};
use nix::sys::statvfs::{FsFlags, statvfs};
use oci_spec::runtime::Mount;

/// The option that sets a flag, the option that clears the flag, and the flag in statvfs(3) and mount_setattr(2).
const FLAGS: [(&str, &str, FsFlags, u64); 4] = [
    ("ro", "rw", FsFlags::ST_RDONLY, MOUNT_ATTR_RDONLY),
    ("nosuid", "suid", FsFlags::ST_NOSUID, MOUNT_ATTR_NOSUID),
    ("nodev", "dev", FsFlags::ST_NODEV, MOUNT_ATTR_NODEV),
    ("noexec", "exec", FsFlags::ST_NOEXEC, MOUNT_ATTR_NOEXEC),
];

/// The flags of the source's mount that must be cleared, as mount_setattr(2) numbers them. Usually 0.
#[must_use]
pub fn of(mount: &Mount, source: &Path) -> u64 {
    let asked = asked(mount.options().as_deref().unwrap_or_default());
    // containerd gives `rw` for every volume that is not read-only, and most sources are writable.
    if asked.is_empty() {
        return 0;
    }
    let Ok(found) = statvfs(source) else { return 0 };
    let there = asked.into_iter().filter(|(flag, _)| found.flags().contains(*flag));
    there.fold(0, |all, (_, attribute)| all | attribute)
}

/// The flags for which the last option is the one that clears the flag.
fn asked(options: &[String]) -> Vec<(FsFlags, u64)> {
    let last = |on: &str, off: &str| options.iter().rev().find(|o| *o == on || *o == off);
    let off = FLAGS.into_iter().filter(|(on, off, ..)| last(on, off).is_some_and(|o| o == off));
    off.map(|(_, _, flag, attribute)| (flag, attribute)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let attributes = |options: &[&str]| {
            let options: Vec<_> = options.iter().map(|o| (*o).to_owned()).collect();
            asked(&options).into_iter().fold(0, |all, (_, attribute)| all | attribute)
        };
        assert_eq!(attributes(&["rbind", "rprivate"]), 0);
        assert_eq!(attributes(&["bind", "ro", "nosuid"]), 0);
        assert_eq!(attributes(&["bind", "rw", "ro"]), 0);
        assert_eq!(attributes(&["bind", "ro", "rw"]), MOUNT_ATTR_RDONLY);
        assert_eq!(attributes(&["rrw", "rexec"]), 0, "the engine's own, with all mounts below");
        let both = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
        assert_eq!(attributes(&["exec", "dev", "nosuid"]), both);
    }
}
