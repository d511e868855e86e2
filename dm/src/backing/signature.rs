//! What a device contains: the formats that a new pool must not overwrite.
//!
//! The offsets and magic numbers are those of libblkid (util-linux, `libblkid/src/`).

use crate::superblock::MAGIC;

/// How many bytes are read at the beginning and at the end of a device.
pub(crate) const LOOK: usize = 1 << 20;

const KNOWN: &[(usize, &[u8], &str)] = &[
    (1080, &[0x53, 0xef], "an ext file system"),
    (0, b"XFSB", "an xfs file system"),
    (0x1_0040, b"_BHRfS_M", "a btrfs file system"),
    (1024, &[0x10, 0x20, 0xf5, 0xf2], "an f2fs file system"),
    (1024, &[0xe2, 0xe1, 0xf5, 0xe0], "an erofs file system"),
    (0, b"hsqs", "a squashfs file system"),
    (0x1_0034, b"ReIsEr", "a reiserfs file system"),
    (32769, b"CD001", "an iso9660 file system"),
    (3, b"NTFS    ", "an ntfs file system"),
    (24, &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca], "a bcache device"),
    (4120, &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca], "a bcache device"),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (0, b"LABELONE", "an LVM physical volume"),
    (512, b"LABELONE", "an LVM physical volume"),
    (1024, b"LABELONE", "an LVM physical volume"),
    (1536, b"LABELONE", "an LVM physical volume"),
    (4086, b"SWAPSPACE2", "a swap area"),
    (65526, b"SWAPSPACE2", "a swap area"),
    (0, &[0xfc, 0x4e, 0x2b, 0xa9], "a member of an md array"),
    (4096, &[0xfc, 0x4e, 0x2b, 0xa9], "a member of an md array"),
    (512, b"EFI PART", "a GPT partition table"),
    (4096, b"EFI PART", "a GPT partition table"),
    (0, b"dmvdo001", "a VDO volume"),
    (MAGIC.0, &MAGIC.1, "the metadata of a thin pool"),
    // The last entry, because many kinds of boot sectors end with these bytes.
    (510, &[0x55, 0xaa], "a partition table or boot sector"),
];

/// The format that the first [`LOOK`] bytes of a device show; `None` if no known format begins so.
pub(crate) fn found(head: &[u8]) -> Option<&'static str> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    KNOWN
        .iter()
        .find(|(offset, magic, _)| at(*offset, magic))
        .map(|(_, _, what)| *what)
        .or_else(|| zfs(head))
}

/// ZFS writes its uberblocks (magic 0x00bab10c, either byte order) at steps of 1 KiB from 128 KiB on.
fn zfs(head: &[u8]) -> Option<&'static str> {
    let ring = head.get(128 << 10..256 << 10)?;
    let magic = 0x00ba_b10c_u64;
    let is = |block: &[u8]| {
        block.starts_with(&magic.to_le_bytes()) || block.starts_with(&magic.to_be_bytes())
    };
    ring.chunks(1024).any(is).then_some("a zfs pool")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_magic_is_found_and_nothing_is_nothing() {
        assert_eq!(found(&vec![0; LOOK]), None);
        assert_eq!(found(&[]), None);
        for (offset, magic, what) in KNOWN {
            let mut head = vec![0; LOOK];
            head[*offset..offset + magic.len()].copy_from_slice(magic);
            assert_eq!(found(&head), Some(*what), "at {offset}");
        }
        let mut head = vec![0; LOOK];
        head[(128 << 10) + 4096..][..8].copy_from_slice(&0x00ba_b10c_u64.to_le_bytes());
        assert_eq!(found(&head), Some("a zfs pool"));
    }

    proptest! {
        #[test]
        fn a_short_head_is_no_panic(head in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let _ = found(&head);
        }
    }
}
