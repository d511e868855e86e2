//! The directory for temporary files: in memory if there is room, because a disk flush costs nothing there.

use std::path::{Path, PathBuf};

/// `TMPDIR` if it is set. Otherwise a directory in memory, if that has so many GiB of room.
pub fn directory(gib: u64) -> PathBuf {
    if let Some(given) = std::env::var_os("TMPDIR") {
        return given.into();
    }
    let shared = Path::new("/dev/shm");
    let room = rustix::fs::statvfs(shared).map(|fs| (fs.f_bavail * fs.f_frsize) >> 30).unwrap_or(0);
    if room >= gib { shared } else { Path::new("/var/tmp") }.into()
}
