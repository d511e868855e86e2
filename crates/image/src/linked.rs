//! The files of an image that have several names. For each of these names mke2fs looks through the list of the files
//! (e2fsprogs, misc/create_inode.c, `is_hardlink`). So the time grows with the product of names and files.

use std::collections::HashSet;

use rustix::fs::Stat;

use super::walk::MOST_LINKED;
use crate::error::MakeError;

/// How many files of the list mke2fs may look at for one image. An image with two names for each of [`MOST_LINKED`] files takes
/// three quarters of this.
const MOST_COMPARED: u64 = 1 << 37;

/// Counts the files with several names, and what mke2fs looks at for their names.
#[derive(Debug)]
pub(super) struct Linked {
    files: HashSet<(u64, u64)>,
    pub(super) most: usize,
    compared: u64,
    pub(super) most_compared: u64,
}

impl Default for Linked {
    fn default() -> Self {
        Self { files: HashSet::new(), most: MOST_LINKED, compared: 0, most_compared: MOST_COMPARED }
    }
}

impl Linked {
    /// Counts a name of a file with several names. Returns whether the file had another name before.
    pub(super) fn is_another_name(&mut self, stat: &Stat) -> Result<bool, MakeError> {
        // mke2fs may find the file at the end of the list, or not at all.
        self.compared += self.files.len() as u64;
        let is_new = self.files.insert((stat.st_dev, stat.st_ino));
        if self.files.len() > self.most {
            return Err(MakeError::TooMany { what: "files with several names", most: self.most });
        }
        if self.compared > self.most_compared {
            return Err(MakeError::ManyLinks { most: self.most_compared });
        }
        Ok(!is_new)
    }
}
