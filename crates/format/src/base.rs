//! The format of a base: an ext4 file system that every host and every version makes the same of the same image.
//!
//! The format is called [`BaseFormat::NAME`], and has a number. A version of sharedroot uses the bases that an earlier version
//! made, and finds them by their keys alone. So a change of what is on the device takes another number,
//! [`BaseFormat::CURRENT`], which is in the key of every base: bases of two formats never have the same key.
//!
//! | format | what it is | how its keys and volumes are written |
//! |---|---|---|
//! | 1 | what this module says, and the files of `image::init_layer`; all that was made before formats had numbers | without a number |
//! | N, from 2 to 255 | of a later version | with `fN-` before the rest |

use std::fmt;
use std::ops::RangeInclusive;

/// The number of a base's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseFormat(u8);

impl BaseFormat {
    /// What the format is called: one ext4 file system, in which the layers of an image are one tree.
    pub const NAME: &str = "flat-ext4";
    /// The first one. No text says its number: bases of this format were made before formats had numbers.
    pub const FIRST: Self = Self(1);
    /// The one that this version makes.
    pub const CURRENT: Self = Self::FIRST;

    /// The format of a key or a volume by its text, and what follows.
    pub(crate) fn split(text: &str) -> Option<(Self, &str)> {
        match text.strip_prefix('f').and_then(|rest| rest.split_once('-')) {
            Some((number, rest)) if number.len() <= 3 => Some((Self::numbered(number)?, rest)),
            // A digest that begins with the digit f has more digits than a number.
            _ => Some((Self::FIRST, text)),
        }
    }

    /// A format whose number has to be written.
    fn numbered(text: &str) -> Option<Self> {
        let format = text.parse().map(Self).ok()?;
        (format > Self::FIRST && format.0.to_string() == text).then_some(format)
    }

    /// What a key of this format begins with.
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

/// What Linux 4.x and e2fsprogs 1.43 know. Without `resize_inode`: a base never grows in place
/// beyond its group descriptors. Without `orphan_file`, which older kernels refuse. `sparse_super2`
/// for no superblock but the first: copies take a thin block each, keep what debugfs changes in the
/// first, and nobody repairs a base.
pub const FEATURES: &str = "none,has_journal,ext_attr,dir_index,filetype,extent,64bit,flex_bg,\
    sparse_super2,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// Bytes of a block.
pub const BLOCK: u64 = 4096;

/// Bytes of an inode.
pub const INODE: u64 = 256;

/// Bytes of the file system for each inode: mke2fs's own ratio.
pub const BYTES_PER_INODE: u64 = 16_384;

/// The journal, in MiB; the smallest that ext4 takes.
pub const JOURNAL_MIB: u64 = 4;

/// How many blocks the journal has.
pub const JOURNAL_BLOCKS: u64 = (JOURNAL_MIB << 20) / BLOCK;

/// The time of whatever a base has and no layer gave it, in seconds: one that every host can repeat.
///
/// A second after the epoch, because e2fsprogs takes zero for "not set".
pub const FIXED_TIME: i64 = 1;

/// The seconds that ext4 keeps of a time in an inode of 256 bytes: 34 bits from 1901 to 2446
/// (Documentation/filesystems/ext4/inodes.rst, "Inode Timestamps").
pub const TIMES: RangeInclusive<i64> = i32::MIN as i64..=(1 << 34) - (1 << 31) - 1;
