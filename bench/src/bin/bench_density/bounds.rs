//! The short form of the benchmark: compares figures with bounds that even a busy machine does not reach, to find mistakes.

use crate::disks::DATA;
use crate::look::Look;
use crate::mode::Mode;
use crate::run::Run;
use crate::turns::Turns;

/// The largest number of copies. A second copy of the program alone would be more.
const COPIES: f64 = 1.05;
/// The largest ratio of times. On a busy machine these ratios vary by a tenth.
const TIME_OF_OVERLAY2: f64 = 1.3;
const TIME_OF_PRIVATE: f64 = 1.15;
const MEMORY_OF_PRIVATE: f64 = 0.9;
/// The largest read of a later pod: 4 KiB, for lookups of ext4. A second read of the program alone would be more.
const SECTORS: u64 = 8;

/// Prints every figure with its bound, and the counts as a test runner does.
///
/// # Panics
/// If a figure is beyond its bound.
pub fn check(runs: &[Run], turns: &Turns) {
    let run =
        |mode| runs.iter().find(|run| run.mode == mode).expect("the short form has all modes");
    let (shared, private) = (run(Mode::Shared), run(Mode::Private));
    let time = |mode| turns.whole(mode).expect("every mode had its turn");
    let read = |look: &Look| look.disks[DATA].read;
    let figures = [
        ("time, shared to overlay2", time(Mode::Shared) / time(Mode::Overlay2), TIME_OF_OVERLAY2),
        ("time, shared to private", time(Mode::Shared) / time(Mode::Private), TIME_OF_PRIVATE),
        (
            "memory of a container, shared to private",
            shared.each(Look::used_kb) / private.each(Look::used_kb),
            MEMORY_OF_PRIVATE,
        ),
        (
            "sectors of data read after the first container, shared",
            (read(shared.full()) - read(shared.one())) as f64,
            SECTORS as f64,
        ),
        ("copies of the images' pages, shared", shared.pages.copies(), COPIES),
    ];
    // NaN must fail, too.
    let passed = figures.iter().filter(|(_, found, bound)| found <= bound).count();
    let failed = figures.len() - passed;
    for (what, found, bound) in figures {
        println!("{what}: {found:.2}, at most {bound}");
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed");
    assert_eq!(failed, 0, "beyond their bounds");
}
