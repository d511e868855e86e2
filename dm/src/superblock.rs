//! The first block of a pool's metadata, which is only read: is this the metadata of the pool in the store?
//!
//! Layout: `struct thin_disk_superblock` in dm-thin-metadata.c and `struct disk_sm_root` in dm-space-map-common.h, all
//! little-endian. thin_check checks the rest of the metadata.

use crate::units::Bytes;

/// `THIN_METADATA_BLOCK_SIZE`: the size of the superblock and of every other metadata block. dm-thin formats the metadata if
/// and only if the first block is zero.
pub(crate) const BLOCK: Bytes = Bytes::kib(4);
/// The offset of the field `magic`, and its value `THIN_SUPERBLOCK_MAGIC`.
pub(crate) const MAGIC: (usize, [u8; 8]) = (32, 27_022_010_u64.to_le_bytes());

/// What a superblock says of its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// The checksum of the superblock. It changes with every commit.
    pub(crate) checksum: u32,
    /// The kernel found an error, so thin_check must run (`THIN_METADATA_NEEDS_CHECK_FLAG`).
    pub(crate) needs_check: bool,
    pub(crate) transaction_id: u64,
    /// The size of a data block.
    pub(crate) block: Bytes,
    /// The number of data blocks that the pool had when it was last active.
    pub(crate) data_blocks: u64,
    /// The size of the metadata device when the pool was last active.
    pub(crate) metadata_size: Bytes,
}

impl Superblock {
    /// `None` if the block does not have the magic of a thin pool, or is too short.
    pub(crate) fn parse(block: &[u8]) -> Option<Self> {
        let field = |at: usize| {
            block
                .get(at..at + 8)
                .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")))
        };
        if block.get(MAGIC.0..MAGIC.0 + 8)? != MAGIC.1 {
            return None;
        }
        let first = field(0)?;
        Some(Self {
            checksum: first as u32,
            needs_check: first >> 32 & 1 == 1,
            transaction_id: field(48)?,
            data_blocks: field(64)?,
            // Two 32-bit fields: the data block's and the metadata block's size, in sectors.
            block: Bytes((field(336)? & 0xffff_ffff) * 512),
            metadata_size: Bytes(field(344)?.checked_mul(BLOCK.0)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(transaction: u64, data: u64, sectors: u32, metadata: u64) -> Vec<u8> {
        let mut block = vec![0; BLOCK.0 as usize];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &[1, 2, 3, 4, 1]);
        put(MAGIC.0, &MAGIC.1);
        put(48, &transaction.to_le_bytes());
        put(64, &data.to_le_bytes());
        put(336, &sectors.to_le_bytes());
        put(340, &8_u32.to_le_bytes());
        put(344, &metadata.to_le_bytes());
        block
    }

    #[test]
    fn the_fields_are_where_the_kernel_puts_them() {
        let found = Superblock::parse(&block(7, 2048, 128, 2048)).expect("a superblock");
        let (block, metadata_size) = (Bytes::kib(64), Bytes::mib(8));
        let (checksum, needs_check) = (0x0403_0201, true);
        let (transaction_id, data_blocks) = (7, 2048);
        assert_eq!(
            found,
            Superblock { checksum, needs_check, transaction_id, data_blocks, block, metadata_size }
        );
        assert_eq!(Superblock::parse(&[0; 4096]), None);
        assert_eq!(Superblock::parse(&block_of(100)), None);
    }

    fn block_of(length: usize) -> Vec<u8> {
        block(7, 1, 128, 1)[..length].to_vec()
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_superblock_or_none(
            head in proptest::collection::vec(any::<u8>(), 0..400), magic: bool,
        ) {
            let mut head = head;
            if magic && head.len() > 40 {
                head[MAGIC.0..40].copy_from_slice(&MAGIC.1);
            }
            let _ = Superblock::parse(&head);
        }
    }
}
