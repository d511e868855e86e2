//! The parts of the crash tests.
//!
//! | file | its story |
//! |---|---|
//! | `site.rs` | a pool for one test, its processes, its end |
//! | `story.rs` | the operations, and their steps |
//! | `census.rs` | everything that the story leaves, to be compared |
//! | `mapper.rs` | the devices of device-mapper |
//! | `flakey.rs` | a disk that loses its writes |
//! | `power.rs` | power cuts, one boot after another |
//! | `random.rs` | random numbers, from a seed |
//! | `worker.rs`, `riot.rs` | processes that do random operations, and what must exist after their end |

pub(crate) mod census;
pub(crate) mod flakey;
pub(crate) mod mapper;
pub(crate) mod power;
pub(crate) mod random;
pub(crate) mod riot;
pub(crate) mod site;
pub(crate) mod story;
pub(crate) mod worker;

use census::Census;
use site::{Failed, Site, chain, say};
use story::Step;

/// An undisturbed run: the steps, and what they leave.
pub(crate) fn untroubled(site: &Site) -> Result<(Vec<Step>, Census), Failed> {
    site.clear()?;
    let steps = story::trace(site)?;
    let census = Census::take(site)?;
    Ok((steps, census))
}

/// Runs the next command after a crash, and the rest of the story. Returns what differs from an undisturbed run.
pub(crate) fn recovered(site: &Site, from: usize, expected: &Census) -> Vec<String> {
    let census = story::tell(site, from, |_| ()).and_then(|()| Census::take(site));
    match census {
        Ok(census) => census.differences(expected),
        Err(error) => vec![format!("the next command failed: {}", chain(error.as_ref()))],
    }
}

/// Prints the result of one crash, and keeps the failures.
pub(crate) fn note(failures: &mut Vec<String>, what: &str, differences: &[String]) {
    match differences {
        [] => say(&format!("{what}: recovered")),
        differences => {
            let text = format!("{what}: NOT RECOVERED\n  {}", differences.join("\n  "));
            say(&text);
            failures.push(text);
        }
    }
}
