//! The files of an image that have several names. For each of these names mke2fs looks through the list of the files
//! (e2fsprogs, misc/create_inode.c, `is_hardlink`). So the time grows with the product of names and files. For each name it
//! adds one to the file's count of links, which has 16 bits, and does not look whether the count begins at zero again.

use std::collections::HashMap;

use rustix::fs::Stat;

use super::walk::MOST_LINKED;
use crate::error::MakeError;

/// How many files of the list mke2fs may look at for one image. An image with two names for each of [`MOST_LINKED`] files takes
/// three quarters of this.
const MOST_COMPARED: u64 = 1 << 37;

/// How many names a file may have: ext4's bound (fs/ext4/ext4.h, `EXT4_LINK_MAX`).
pub(super) const MOST_NAMES_OF_A_FILE: u32 = 65_000;

/// Counts the files with several names, and what mke2fs looks at for their names.
#[derive(Debug)]
pub(super) struct Linked {
    /// How many names of each file have been found.
    files: HashMap<(u64, u64), u32>,
    pub(super) most: usize,
    pub(super) most_names: u32,
    compared: u64,
    pub(super) most_compared: u64,
}

impl Default for Linked {
    fn default() -> Self {
        Self {
            files: HashMap::new(),
            most: MOST_LINKED,
            most_names: MOST_NAMES_OF_A_FILE,
            compared: 0,
            most_compared: MOST_COMPARED,
        }
    }
}

impl Linked {
    /// Counts a name of a file with several names. Returns whether the file had another name before.
    pub(super) fn is_another_name(&mut self, stat: &Stat) -> Result<bool, MakeError> {
        // mke2fs may find the file at the end of the list, or not at all.
        self.compared += self.files.len() as u64;
        let names = self.files.entry((stat.st_dev, stat.st_ino)).or_default();
        *names += 1;
        let is_new = *names == 1;
        if *names > self.most_names {
            let most = self.most_names as usize;
            return Err(MakeError::TooMany { what: "names of one file", most });
        }
        if self.files.len() > self.most {
            return Err(MakeError::TooMany { what: "files with several names", most: self.most });
        }
        if self.compared > self.most_compared {
            return Err(MakeError::ManyLinks { most: self.most_compared });
        }
        Ok(!is_new)
    }
}
