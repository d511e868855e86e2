//! The parts of the crash tests.
//!
//! | file | its story |
//! |---|---|
//! | `site.rs` | a pool of a test's own, its processes, its end |
//! | `story.rs` | the operations, and the steps that they are made of |
//! | `census.rs` | everything that is left, to be compared |
//! | `flakey.rs` | a disk that loses its writes |
//! | `power.rs` | power cuts, one boot after another |
//! | `random.rs` | chance, from a seed |
//! | `worker.rs`, `riot.rs` | processes that do what chance says, and what must be there after their end |

pub(crate) mod census;
pub(crate) mod flakey;
pub(crate) mod power;
pub(crate) mod random;
pub(crate) mod riot;
pub(crate) mod site;
pub(crate) mod story;
pub(crate) mod worker;

use census::Census;
use site::{Failed, Site, chain, say};
use story::Step;

/// An untroubled run: the steps, and what it leaves.
pub(crate) fn untroubled(site: &Site) -> Result<(Vec<Step>, Census), Failed> {
    site.clear()?;
    let steps = story::trace(site)?;
    let census = Census::take(site)?;
    Ok((steps, census))
}

/// The next command after a crash, the rest of the story, and the census of its end: what differs from an untroubled run.
pub(crate) fn recovered(site: &Site, from: usize, expected: &Census) -> Vec<String> {
    let census = story::tell(site, from, |_| ()).and_then(|()| Census::take(site));
    match census {
        Ok(census) => census.differences(expected),
        Err(error) => vec![format!("the next command failed: {}", chain(error.as_ref()))],
    }
}

/// Says how one crash went, and keeps what went wrong.
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
