//! How long the steps of a command take, as messages of the level debug.

use std::time::Instant;

use tracing::Level;

/// A step of a command. When this value is dropped, also because the step failed, a message says how long the step took.
#[derive(Debug)]
#[must_use = "the step ends when this is dropped"]
pub struct Step(Option<(&'static str, Instant)>);

/// Begins the step `what`. Where messages of the level debug are off, this does not even read the clock.
pub fn step(what: &'static str) -> Step {
    Step(tracing::enabled!(Level::DEBUG).then(|| (what, Instant::now())))
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some((what, began)) = self.0 {
            let took = began.elapsed().as_secs_f64() * 1e3;
            tracing::debug!("took {took:.3} ms: {what}");
        }
    }
}
