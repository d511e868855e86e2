//! How much of the pool a volume's mappings take: the kernel's status line of a thin volume.
//!
//! Format: `Documentation/admin-guide/device-mapper/thin-provisioning.rst`, "Status" of the thin target, and `thin_status()` in
//! dm-thin.c.

use std::fmt;
use std::str::FromStr;

use nix::errno::Errno;
use sharedroot_format::VolumeName;

use crate::error::Error;
use crate::pool::Pool;
use crate::store::Phase;
use crate::units::Bytes;

/// The status line of a thin volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThinLine {
    Working {
        /// The sectors that are mapped, also those of blocks that other volumes share.
        mapped: u64,
        /// The last mapped sector; none if nothing is mapped.
        highest: Option<u64>,
    },
    /// The kernel prints `Fail` for a volume of a pool that it gave up, and `Error` where it could not read the figures.
    Broken(&'static str),
}

/// A text that is no status line of a thin volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no status line of a thin volume")]
pub(crate) struct NotAThinLine;

impl FromStr for ThinLine {
    type Err = NotAThinLine;

    fn from_str(line: &str) -> Result<Self, NotAThinLine> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| NotAThinLine);
        match line.trim_end() {
            "Fail" => Ok(Self::Broken("Fail")),
            "Error" => Ok(Self::Broken("Error")),
            line => {
                let (mapped, highest) = line.split_once(' ').ok_or(NotAThinLine)?;
                let highest = if highest == "-" { None } else { Some(number(highest)?) };
                Ok(Self::Working { mapped: number(mapped)?, highest })
            }
        }
    }
}

impl fmt::Display for ThinLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Working { mapped, highest: Some(highest) } => write!(f, "{mapped} {highest}"),
            Self::Working { mapped, highest: None } => write!(f, "{mapped} -"),
            Self::Broken(word) => f.write_str(word),
        }
    }
}

impl Pool {
    /// The size of what is mapped in an active volume, in one call of the kernel whatever the size. Blocks that the volume shares
    /// with its origin or its snapshots count. `None` if there is no such volume, if it is not active, or if the kernel gave up
    /// the pool.
    ///
    /// # Errors
    /// The store or the kernel cannot be read.
    pub fn mapped(&self, name: &VolumeName) -> Result<Option<Bytes>, Error> {
        let Some(row) = self.row(name)?.filter(|row| row.phase == Phase::Ready) else {
            return Ok(None);
        };
        let identity = self.identity_of(&row);
        let failed = |source| {
            let (volume, pool) = (name.clone(), self.config.name.clone());
            Error::Find { volume, pool, source }
        };
        let line = match self.kernel.status(&identity.name) {
            Ok((device, line)) if device.uuid == identity.uuid && device.live => line,
            Ok(_) => return Ok(None),
            Err(error) if error.errno() == Some(Errno::ENXIO) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match line.parse() {
            Ok(ThinLine::Working { mapped, .. }) => Ok(Some(Bytes(mapped.saturating_mul(512)))),
            Ok(ThinLine::Broken(_)) => Ok(None),
            Err(NotAThinLine) => Err(Error::VolumeStatus { volume: name.clone(), line }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_real_kernels() {
        let line = |text: &str| text.parse::<ThinLine>();
        assert_eq!(line("0 -"), Ok(ThinLine::Working { mapped: 0, highest: None }));
        assert_eq!(
            line("2048 20971519 "),
            Ok(ThinLine::Working { mapped: 2048, highest: Some(20_971_519) })
        );
        assert_eq!(line("Fail"), Ok(ThinLine::Broken("Fail")));
        for wrong in ["", "-", "7", "7 8 9", "x -", "-1 -"] {
            assert_eq!(line(wrong), Err(NotAThinLine), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_line_survives_the_round_trip(mapped in any::<u64>(), highest in any::<Option<u64>>()) {
            let line = ThinLine::Working { mapped, highest };
            prop_assert_eq!(line.to_string().parse::<ThinLine>(), Ok(line));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,60}") {
            if let Ok(line) = text.parse::<ThinLine>() {
                prop_assert_eq!(line.to_string().parse::<ThinLine>(), Ok(line));
            }
        }
    }
}
