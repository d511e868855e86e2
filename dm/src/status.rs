//! The kernel's status line of a thin pool, and the figures of a pool for an administrator.
//!
//! Format: `Documentation/admin-guide/device-mapper/thin-provisioning.rst`, "Status", and `pool_status()` in dm-thin.c.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sharedroot_format::PoolName;

use crate::units::Bytes;

/// dm-thin's metadata block, fixed in `THIN_METADATA_BLOCK_SIZE`.
const METADATA_BLOCK: Bytes = Bytes::kib(4);

/// The mode of a pool: what the kernel allows. `Display` prints the kernel's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// Volumes can be read, written, created and deleted.
    ReadWrite,
    /// The metadata cannot be changed: no volume can be created or deleted, and no new block can be written.
    ReadOnly,
    /// No data block is free: writes to new blocks fail.
    OutOfDataSpace,
    /// The kernel gave up the pool: every read and write fails.
    Fail,
}

impl fmt::Display for PoolMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadWrite => "rw",
            Self::ReadOnly => "ro",
            Self::OutOfDataSpace => "out_of_data_space",
            Self::Fail => "Fail",
        })
    }
}

/// Used blocks and all blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Blocks in use.
    pub used: u64,
    /// All blocks.
    pub total: u64,
}

impl Blocks {
    /// The used share in percent, 0 to 100. It is rounded up, so that a nearly full pool does not look less full than it is.
    pub fn percent(self) -> u8 {
        if self.total == 0 {
            return 100;
        }
        (u128::from(self.used.min(self.total)) * 100).div_ceil(u128::from(self.total)) as u8
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.used, self.total)
    }
}

/// The fields of a working pool's status line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Working {
    pub(crate) transaction_id: u64,
    pub(crate) metadata: Blocks,
    pub(crate) data: Blocks,
    /// The metadata block of the reserved metadata snapshot, if one is reserved.
    pub(crate) held_root: Option<u64>,
    pub(crate) mode: PoolMode,
    pub(crate) discard: String,
    pub(crate) no_space: String,
    pub(crate) needs_check: bool,
    /// Absent on kernels before 4.19.
    pub(crate) metadata_low_water: Option<u64>,
}

/// A status line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StatusLine {
    Working(Working),
    /// The kernel prints `Fail` for a pool that it gave up, and `Error` where it could not read the figures.
    Broken(&'static str),
}

/// A status line that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's thin-pool status {line:?} has no valid field {field:?}")]
pub struct StatusError {
    /// The whole line.
    pub line: String,
    /// The field that is missing or wrong.
    pub field: &'static str,
}

impl FromStr for StatusLine {
    type Err = StatusError;

    fn from_str(line: &str) -> Result<Self, StatusError> {
        match line.trim_end() {
            "Fail" => return Ok(Self::Broken("Fail")),
            "Error" => return Ok(Self::Broken("Error")),
            _ => {}
        }
        let wrong = |field| StatusError { line: line.to_owned(), field };
        let mut words = line.split_ascii_whitespace();
        let mut next = |field| words.next().ok_or_else(|| wrong(field));
        let number = |text: &str, field| text.parse::<u64>().map_err(|_| wrong(field));
        let blocks = |text: &str, field| {
            let (used, total) = text.split_once('/').ok_or_else(|| wrong(field))?;
            Ok(Blocks { used: number(used, field)?, total: number(total, field)? })
        };
        let word = |text: &str, known: &[&str], field| match known.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(wrong(field)),
        };

        let working = Working {
            transaction_id: number(next("transaction id")?, "transaction id")?,
            metadata: blocks(next("metadata blocks")?, "metadata blocks")?,
            data: blocks(next("data blocks")?, "data blocks")?,
            held_root: match next("held metadata root")? {
                "-" => None,
                block => Some(number(block, "held metadata root")?),
            },
            mode: match next("mode")? {
                "rw" => PoolMode::ReadWrite,
                "ro" => PoolMode::ReadOnly,
                "out_of_data_space" => PoolMode::OutOfDataSpace,
                _ => return Err(wrong("mode")),
            },
            discard: word(
                next("discard")?,
                &["discard_passdown", "no_discard_passdown", "ignore_discard"],
                "discard",
            )?,
            no_space: word(
                next("no space")?,
                &["error_if_no_space", "queue_if_no_space"],
                "no space",
            )?,
            needs_check: match next("needs_check")? {
                "needs_check" => true,
                "-" => false,
                _ => return Err(wrong("needs_check")),
            },
            metadata_low_water: match next("metadata low water") {
                Ok(text) => Some(number(text, "metadata low water")?),
                Err(_) => None,
            },
        };
        Ok(Self::Working(working))
    }
}

impl fmt::Display for StatusLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let w = match self {
            Self::Broken(word) => return f.write_str(word),
            Self::Working(working) => working,
        };
        write!(f, "{} {} {} ", w.transaction_id, w.metadata, w.data)?;
        match w.held_root {
            Some(block) => write!(f, "{block} ")?,
            None => f.write_str("- ")?,
        }
        let check = if w.needs_check { "needs_check" } else { "-" };
        write!(f, "{} {} {} {check} ", w.mode, w.discard, w.no_space)?;
        w.metadata_low_water.map_or(Ok(()), |blocks| write!(f, "{blocks} "))
    }
}

/// A pool as the kernel and the store see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolStatus {
    /// The pool.
    pub name: PoolName,
    /// What the kernel allows.
    pub mode: PoolMode,
    /// The kernel found an error in the metadata. thin_check must run before the pool is written again.
    pub needs_check: bool,
    /// Data blocks of [`block`](Self::block) bytes each; `None` if the kernel gave up the pool.
    pub data: Option<Blocks>,
    /// Metadata blocks of [`metadata_block`](Self::metadata_block) bytes each; `None` if the kernel gave up the pool.
    pub metadata: Option<Blocks>,
    /// The size of a data block.
    pub block: Bytes,
    /// The size of a metadata block.
    pub metadata_block: Bytes,
    /// The pool's transaction id; `None` if the kernel gave up the pool.
    pub transaction_id: Option<u64>,
    /// The number of volumes in the store, with those that are being created or deleted.
    pub volumes: u64,
    /// The file or device that holds the data.
    pub data_path: PathBuf,
    /// The file or device that holds the metadata.
    pub metadata_path: PathBuf,
    /// The pool lies on loop files.
    pub on_loop: bool,
}

impl PoolStatus {
    pub(crate) const METADATA_BLOCK: Bytes = METADATA_BLOCK;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_real_kernels() {
        let line = "7 141/65536 12/16384 - rw discard_passdown error_if_no_space - 1024 ";
        let StatusLine::Working(working) = line.parse().expect("a status") else {
            panic!("{line}")
        };
        assert_eq!(working.transaction_id, 7);
        assert_eq!(working.data, Blocks { used: 12, total: 16384 });
        assert_eq!(StatusLine::Working(working).to_string(), line);

        let old =
            "0 10/20 0/16 12 out_of_data_space no_discard_passdown queue_if_no_space needs_check ";
        assert_eq!(old.parse::<StatusLine>().expect("a status").to_string(), old);
        assert_eq!("Fail".parse(), Ok(StatusLine::Broken("Fail")));
    }

    #[test]
    fn a_wrong_line_names_its_field() {
        let error = "7 141/65536 12 - rw".parse::<StatusLine>().expect_err("no slash");
        assert_eq!(error.field, "data blocks");
        assert_eq!("".parse::<StatusLine>().expect_err("empty").field, "transaction id");
    }

    #[test]
    fn fullness_is_rounded_up() {
        assert_eq!(Blocks { used: 1, total: 1000 }.percent(), 1);
        assert_eq!(Blocks { used: 0, total: 1000 }.percent(), 0);
        assert_eq!(Blocks { used: 5, total: 0 }.percent(), 100);
    }

    fn blocks() -> impl Strategy<Value = Blocks> {
        (any::<u64>(), any::<u64>()).prop_map(|(used, total)| Blocks { used, total })
    }

    prop_compose! {
        fn working()(
            transaction_id in any::<u64>(), metadata in blocks(), data in blocks(), held_root in any::<Option<u64>>(),
            mode in prop_oneof![Just(PoolMode::ReadWrite), Just(PoolMode::ReadOnly), Just(PoolMode::OutOfDataSpace)],
            discard in prop_oneof![Just("discard_passdown"), Just("no_discard_passdown"), Just("ignore_discard")],
            no_space in prop_oneof![Just("error_if_no_space"), Just("queue_if_no_space")],
            needs_check in any::<bool>(), metadata_low_water in any::<Option<u64>>(),
        ) -> Working {
            Working { transaction_id, metadata, data, held_root, mode, discard: discard.into(), no_space: no_space.into(),
                needs_check, metadata_low_water }
        }
    }

    proptest! {
        #[test]
        fn a_line_survives_the_round_trip(w in working()) {
            let line = StatusLine::Working(w);
            prop_assert_eq!(line.to_string().parse::<StatusLine>()?, line);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,120}") {
            let _ = text.parse::<StatusLine>();
        }
    }
}
