//! A file system without files. The layers of the snapshotter begin with a snapshot of it.

use std::path::Path;
use std::process::Stdio;

use sharedroot_format::base::{BLOCK, BYTES_PER_INODE};

use super::debugfs::run_script;
use super::ext4::mke2fs;
use crate::error::MakeError;

/// Makes an empty file system of `size_bytes` on `device`. Its root has the mode 0755 and belongs to root. It has no
/// `lost+found`, which would be in every image that is made of it; e2fsck makes it when it needs it.
///
/// # Errors
/// [`MakeError::NoTool`], [`MakeError::Start`]; [`MakeError::Tool`] with the words of the program that failed.
pub fn make_empty_filesystem(device: &Path, size_bytes: u64) -> Result<(), MakeError> {
    let mut mke2fs = mke2fs("root_owner=0:0", size_bytes / BYTES_PER_INODE)?;
    mke2fs.command.args(["-o", "Linux"]).arg(device).arg((size_bytes / BLOCK).to_string());
    mke2fs.run(device, Stdio::null(), |output| output.status.success())?;
    run_script(device, &[b"ssv kbytes_written 0\nsif / mode 040755\nrmdir /lost+found\n"])
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::Command;

    use super::*;
    use crate::ext4::check_filesystem;
    use crate::testing::TestDir;

    #[test]
    fn an_empty_file_system_is_sound_and_has_no_file() {
        let dir = TestDir::new();
        let image = dir.path().join("image");
        let size = 64 << 20;
        File::create(&image).unwrap().set_len(size).unwrap();
        make_empty_filesystem(&image, size).unwrap();
        check_filesystem(&image).unwrap();
        let ask = |question: &str| {
            let done = Command::new("debugfs").args(["-R", question]).arg(&image).output().unwrap();
            String::from_utf8_lossy(&done.stdout).into_owned()
        };
        let names = ask("ls -p /");
        let names: Vec<_> = names.lines().filter_map(|line| line.split('/').nth(5)).collect();
        assert_eq!(names, [".", ".."]);
        let root = ask("stat /");
        assert!(root.contains("Mode:  0755") && root.contains("User:     0"), "{root}");
    }
}
