//! What the superblock of an ext4 file system says.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The offset, in ext4's superblock, of the features that a kernel must know. One feature says that the journal holds changes
/// that are not in the file system yet (Documentation/filesystems/ext4/super.rst).
const INCOMPATIBLE: u64 = 1024 + 0x60;
const RECOVER: u32 = 0x4;

/// Whether the file system on `device` was not unmounted, or could not be written when it was unmounted.
///
/// # Errors
/// The device cannot be read.
pub fn needs_replay(device: &Path) -> io::Result<bool> {
    let mut features = [0; 4];
    File::open(device)?.read_exact_at(&mut features, INCOMPATIBLE)?;
    Ok(u32::from_le_bytes(features) & RECOVER != 0)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::testing::TestDir;

    #[test]
    fn a_file_system_says_whether_its_journal_must_be_replayed() {
        let dir = TestDir::new();
        let image = dir.path().join("image");
        File::create(&image).unwrap().set_len(8 << 20).unwrap();
        let run = |program: &str, words: &[&str]| {
            let done = Command::new(program).args(words).arg(&image).status().unwrap();
            assert!(done.success(), "{program} {words:?}");
        };
        run("mke2fs", &["-q", "-t", "ext4"]);
        assert!(!needs_replay(&image).unwrap());
        run("debugfs", &["-w", "-R", "feature needs_recovery"]);
        assert!(needs_replay(&image).unwrap());
        std::fs::remove_file(&image).unwrap();
        assert!(needs_replay(&image).is_err());
    }
}
