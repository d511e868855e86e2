//! The table line of a thin pool, printed for the kernel and parsed from it.
//!
//! Format: `Documentation/admin-guide/device-mapper/thin-provisioning.rst`, "thin-pool", and `pool_ctr()` in dm-thin.c.

use std::fmt;
use std::str::FromStr;

use crate::kernel::{DevNumber, Table};
use crate::units::{Bytes, Percent};

/// A pool's table. A feature that is not listed has the kernel's default: discards, for example, are passed down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolTable {
    pub(crate) metadata: DevNumber,
    pub(crate) data: DevNumber,
    pub(crate) block: Bytes,
    /// The kernel raises an event when fewer data blocks than this are free.
    pub(crate) low_water: u64,
    pub(crate) features: Vec<String>,
}

/// A line that is not the table line of a thin pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the thin-pool table {line:?} has no valid field {field:?}")]
pub struct TableError {
    /// The whole line.
    pub line: String,
    /// The field that is missing or wrong.
    pub field: &'static str,
}

impl PoolTable {
    /// The table of a pool that this crate creates.
    ///
    /// The kernel does not zero new blocks (`skip_block_zeroing`): mke2fs writes whole blocks, and zeroing first would double
    /// the writes. So a block that a volume wrote only in part shows an earlier volume's data, but only root can read the
    /// device. A pool without a free block fails writes at once (`error_if_no_space`), so that no writer hangs.
    /// device, which is root. A pool without a free block fails writes at once (`error_if_no_space`), so that no writer hangs.
    pub(crate) fn new(
        metadata: DevNumber,
        data: DevNumber,
        block: Bytes,
        blocks: u64,
        fill_limit: Percent,
    ) -> Self {
        let features = ["skip_block_zeroing", "error_if_no_space"].map(str::to_owned).to_vec();
        Self { metadata, data, block, low_water: blocks - fill_limit.of(blocks), features }
    }

    /// The table that covers `size` of the data device.
    pub(crate) fn over(&self, size: Bytes) -> Table {
        Table { sectors: size.sectors(), target: "thin-pool", params: self.to_string() }
    }
}

impl fmt::Display for PoolTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metadata, data, block, low_water, features } = self;
        write!(f, "{metadata} {data} {} {low_water} {}", block.sectors(), features.len())?;
        features.iter().try_for_each(|feature| write!(f, " {feature}"))
    }
}

impl FromStr for PoolTable {
    type Err = TableError;

    fn from_str(line: &str) -> Result<Self, TableError> {
        let wrong = |field| TableError { line: line.to_owned(), field };
        let mut words = line.split_ascii_whitespace();
        let mut next = |field| words.next().ok_or_else(|| wrong(field));
        let device = |text: &str, field| {
            let (major, minor) = text.split_once(':').ok_or_else(|| wrong(field))?;
            let number = |text: &str| text.parse().map_err(|_| wrong(field));
            Ok(DevNumber { major: number(major)?, minor: number(minor)? })
        };
        let number = |text: &str, field| text.parse::<u64>().map_err(|_| wrong(field));

        let metadata = device(next("metadata device")?, "metadata device")?;
        let data = device(next("data device")?, "data device")?;
        let block = number(next("block size")?, "block size")?;
        let low_water = number(next("low-water mark")?, "low-water mark")?;
        // The kernel takes a table without features, and prints a 0.
        let count = next("features").map_or(Ok(0), |text| number(text, "features"))?;
        let features: Vec<_> = words.map(str::to_owned).collect();
        if features.len() as u64 != count {
            return Err(wrong("features"));
        }
        let block = block.checked_mul(512).map(Bytes).ok_or_else(|| wrong("block size"))?;
        Ok(Self { metadata, data, block, low_water, features })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pool_of_ours() {
        let number = |minor| DevNumber { major: 7, minor };
        let limit = Percent::new(90).expect("90 is a percentage");
        let table = PoolTable::new(number(1), number(0), Bytes::kib(64), 2048, limit);
        let text = "7:1 7:0 128 205 2 skip_block_zeroing error_if_no_space";
        assert_eq!(table.to_string(), text);
        assert_eq!(table.over(Bytes::mib(128)).sectors, 262_144);
        assert_eq!(text.parse(), Ok(table));
    }

    #[test]
    fn a_wrong_line_names_its_field() {
        for (line, field) in [
            ("", "metadata device"),
            ("7:1 70 128 1 0", "data device"),
            ("7:1 7:0 x 1 0", "block size"),
            ("7:1 7:0 128 1 2 one", "features"),
            ("7:1 7:0 36028797018963968 1 0", "block size"),
        ] {
            assert_eq!(line.parse::<PoolTable>().expect_err(line).field, field, "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_line_survives_the_round_trip(
            numbers in any::<[u32; 4]>(), sectors in 0u64..1 << 40, low_water: u64,
            features in proptest::collection::vec("[a-z_]{1,20}", 0..5),
        ) {
            let [a, b, c, d] = numbers;
            let table = PoolTable {
                metadata: DevNumber { major: a, minor: b }, data: DevNumber { major: c, minor: d },
                block: Bytes(sectors * 512), low_water, features,
            };
            prop_assert_eq!(table.to_string().parse::<PoolTable>()?, table);
        }

        #[test]
        fn any_text_is_parsed_or_refused(line in ".{0,80}") {
            let _ = line.parse::<PoolTable>();
        }
    }
}
