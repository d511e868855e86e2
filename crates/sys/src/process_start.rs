//! When this process began, also if the process has called execve(2) on its own program since, and the environment that the
//! process passes on.

use std::ffi::OsString;
use std::fmt;
use std::num::ParseIntError;
use std::ops::Add;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A time since the host booted, by CLOCK_MONOTONIC. No program sets this clock, and it stands still while the host sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    nanos: u64,
}

impl Moment {
    /// The present time.
    #[must_use]
    pub fn now() -> Self {
        // This uses libc: rustix's own call panics if the kernel's vDSO has no getcpu, as in User-Mode Linux since 7.0.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock that every kernel has");
        let part = |number: i64| u64::try_from(number).unwrap_or(0);
        Self { nanos: part(now.tv_sec()) * 1_000_000_000 + part(now.tv_nsec()) }
    }

    /// That many nanoseconds after the boot.
    #[must_use]
    pub fn of_nanos(nanos: u64) -> Self {
        Self { nanos }
    }

    /// How much later than `earlier` this is; zero if it is before `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, period: Duration) -> Self {
        let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        Self { nanos: self.nanos.saturating_add(nanos) }
    }
}

/// Nanoseconds.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.nanos)
    }
}

impl FromStr for Moment {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        Ok(Self { nanos: text.parse()? })
    }
}

/// The variable by which a process that executes itself tells its PID and when it began. A child that inherits the variable
/// sees by the PID that the variable is not for the child.
const VARIABLE: &str = "SHAREDROOT_BEGAN";

/// When this process began: the time of the first call of this function, which is the first thing that the process does.
pub fn began() -> Moment {
    static BEGAN: OnceLock<Moment> = OnceLock::new();
    *BEGAN.get_or_init(|| {
        let now = Moment::now();
        let handed = std::env::var(VARIABLE).ok();
        handed.and_then(|text| told(&text, std::process::id(), now)).unwrap_or(now)
    })
}

/// The time in `text`, if `text` is for the process with this PID.
fn told(text: &str, process: u32, now: Moment) -> Option<Moment> {
    let (to, began) = text.split_once(' ')?;
    let began = began.parse().ok().filter(|began| *began <= now)?;
    (to.parse() == Ok(process)).then_some(began)
}

/// The variable that this process passes to itself across execve(2).
#[must_use]
pub fn handed_over() -> (OsString, OsString) {
    let value = format!("{} {}", std::process::id(), began());
    (VARIABLE.into(), value.into())
}

/// The environment of this process, as its caller gave it.
pub fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(key, _)| key != VARIABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_is_meant_takes_it() {
        let now = Moment::of_nanos(500);
        assert_eq!(told("7 400", 7, now), Some(Moment::of_nanos(400)));
        for wrong in ["8 400", "7 501", "7", "7 ", "7 x", "x 400", "7 400 1", ""] {
            assert_eq!(told(wrong, 7, now), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_handed_over_is_understood() {
        let (_, value) = handed_over();
        let me = std::process::id();
        assert_eq!(told(value.to_str().unwrap(), me, Moment::now()), Some(began()));
    }
}
