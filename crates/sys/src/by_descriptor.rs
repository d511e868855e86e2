//! Paths for the calls that take no descriptor.

use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

/// A path to the file of an open descriptor of this process, also if the file has no name any more (proc_pid_fd(5)). Opening
/// the path opens the file again. In another process the path means another file, or nothing.
pub fn by_descriptor(descriptor: impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn a_file_without_a_name_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "text").unwrap();
        let file = File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(fs::read_to_string(by_descriptor(&file)).unwrap(), "text");
    }
}
