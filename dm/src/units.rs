//! Sizes and percentages as types, so that nobody takes a number of bytes for a number of sectors or blocks.

use std::fmt;

/// Bytes in a sector of device-mapper, whatever sector size the device has.
const SECTOR: u64 = 512;

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

impl Bytes {
    /// `n` KiB.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The number of whole sectors of 512 bytes, rounded down.
    pub(crate) const fn sectors(self) -> u64 {
        self.0 / SECTOR
    }

    /// The largest multiple of `unit` that is not larger than `self`.
    pub(crate) const fn round_down(self, unit: Self) -> Self {
        Self(self.0 - self.0 % unit.0)
    }

    /// The smallest multiple of `unit` that is not smaller than `self`.
    pub(crate) const fn round_up(self, unit: Self) -> Self {
        Self(self.0.next_multiple_of(unit.0))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let (mut value, mut unit) = (self.0 as f64 / 1024.0, 0);
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let digits = if value.fract() == 0.0 { 0 } else { 1 };
        write!(f, "{value:.digits$} {}", UNITS[unit])
    }
}

/// A percentage, 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// `None` unless `value` is 1 to 100.
    pub const fn new(value: u8) -> Option<Self> {
        match value {
            1..=100 => Some(Self(value)),
            _ => None,
        }
    }

    /// The number between 1 and 100.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// `self` of `whole`, rounded down.
    pub(crate) fn of(self, whole: u64) -> u64 {
        (u128::from(whole) * u128::from(self.0) / 100) as u64
    }

    /// The smallest whole whose `self` percent are at least `part`.
    pub(crate) fn whole_of(self, part: u64) -> u64 {
        u64::try_from((u128::from(part) * 100).div_ceil(u128::from(self.0))).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_of_a_part_is_the_least() {
        for percent in [1, 33, 90, 100].map(|p| Percent::new(p).expect("a percentage")) {
            for part in [0, 1, 7, 89, 90, 91, 12_345] {
                let whole = percent.whole_of(part);
                assert!(percent.of(whole) >= part, "{percent} of {whole}");
                assert!(whole == 0 || percent.of(whole - 1) < part, "{percent} of {whole} - 1");
            }
        }
    }

    #[test]
    fn sizes_are_printed_for_people() {
        for (bytes, text) in [
            (Bytes(0), "0 B"),
            (Bytes(1023), "1023 B"),
            (Bytes::kib(64), "64 KiB"),
            (Bytes::mib(1536), "1.5 GiB"),
            (Bytes::gib(4096 * 1024), "4096 TiB"),
        ] {
            assert_eq!(bytes.to_string(), text);
        }
    }

    #[test]
    fn a_share_of_the_largest_whole_does_not_overflow() {
        let most = Percent::new(99).expect("99 is a percentage");
        assert!(most.of(u64::MAX) < u64::MAX);
        assert_eq!(Percent::new(90).expect("90 is a percentage").of(1000), 900);
        assert_eq!(Percent::new(0), None);
        assert_eq!(Percent::new(101), None);
    }
}
