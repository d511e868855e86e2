//! The format of a base: an ext4 file system. Every host and every version makes the same file system from one image.
//!
//! The format is called [`BaseFormat::NAME`], and has a number. A version of sharedroot uses the bases that an earlier version
//! made, and finds them by their keys alone. So a version that changes the content of the device also changes the number,
//! [`BaseFormat::CURRENT`]. The number is in the key of every base: bases of two formats never have the same key.
//!
//! | format | what the format is | how its keys and volumes are written |
//! |---|---|---|
//! | 1 | what this module says, and the files of `image::init_layer`; all bases that were made before formats had numbers | without a number |
//! | N, from 2 to 255 | a format of a later version | with `fN-` before the rest |

use std::fmt;
use std::ops::RangeInclusive;

/// The number of a base's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseFormat(u8);

impl BaseFormat {
    /// The name of the format: one ext4 file system, in which the layers of an image are one tree.
    pub const NAME: &str = "flat-ext4";
    /// The first format. No text has its number: bases of this format were made before formats had numbers.
    pub const FIRST: Self = Self(1);
    /// The format that this version makes.
    pub const CURRENT: Self = Self::FIRST;

    /// The number.
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// The format in the text of a key or of a volume's name, and the rest of the text.
    pub(crate) fn split(text: &str) -> Option<(Self, &str)> {
        match text.strip_prefix('f').and_then(|rest| rest.split_once('-')) {
            Some((number, rest)) if number.len() <= 3 => Some((Self::numbered(number)?, rest)),
            // A digest that begins with the digit f has more digits than the number of a format.
            _ => Some((Self::FIRST, text)),
        }
    }

    /// A format whose number is written in texts.
    fn numbered(text: &str) -> Option<Self> {
        let format = text.parse().map(Self).ok()?;
        (format > Self::FIRST && format.0.to_string() == text).then_some(format)
    }

    /// The beginning of the text of a key of this format.
    pub(crate) fn prefix(self) -> String {
        if self == Self::FIRST { String::new() } else { format!("f{}-", self.0) }
    }
}

/// Prints the name and the number: `flat-ext4 1`.
impl fmt::Display for BaseFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Self::NAME, self.0)
    }
}

/// Features that Linux 4.x and e2fsprogs 1.43 know. `resize_inode` is left out, because a base never grows in place beyond its
/// group descriptors. `orphan_file` is left out, because older kernels refuse it. `sparse_super2` leaves out all copies of the
/// superblock: each copy would take a thin block, and would keep old values of what debugfs changes in the first superblock.
/// Nobody repairs a base, so nobody needs the copies.
pub const FEATURES: &str = "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,\
    sparse_super2,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// The size of a block, in bytes.
pub const BLOCK: u64 = 4096;

/// The size of an inode, in bytes.
pub const INODE: u64 = 256;

/// The bytes of the file system for each inode: mke2fs's default.
pub const BYTES_PER_INODE: u64 = 16_384;

/// The size of the journal, in MiB: the smallest that ext4 takes.
pub const JOURNAL_MIB: u64 = 4;

/// The size of the journal, in blocks.
pub const JOURNAL_BLOCKS: u64 = (JOURNAL_MIB << 20) / BLOCK;

/// The time of everything in a base that no layer has given a time, in seconds. Every host uses this time.
///
/// This is one second after the epoch, because e2fsprogs takes zero for "not set".
pub const FIXED_TIME: i64 = 1;

/// The times, in seconds, that ext4 can keep in an inode of 256 bytes: 34 bits, from 1901 to 2446
/// (Documentation/filesystems/ext4/inodes.rst, "Inode Timestamps").
pub const TIMES: RangeInclusive<i64> = i32::MIN as i64..=(1 << 34) - (1 << 31) - 1;
