//! How long the steps of a command take, for who wants messages of the level debug.

use std::time::Instant;

use tracing::Level;

/// A step that goes on until this is dropped, also by an error; then a message says how long it took.
#[derive(Debug)]
#[must_use = "the step ends when this is dropped"]
pub struct Step(Option<(&'static str, Instant)>);

/// Begins a step. Without the level debug not even the clock is read.
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
