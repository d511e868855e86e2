//! How long the steps of a command take, for `--debug`.

use tracing::Level;

use crate::starts::{Moment, began};

/// A step that goes on until this is dropped, also by an error; then a message says how long it took.
#[derive(Debug)]
#[must_use = "the step ends when this is dropped"]
pub struct Step(Option<(&'static str, Moment)>);

/// Begins a step. Without `--debug` not even the clock is read.
pub fn step(what: &'static str) -> Step {
    Step(tracing::enabled!(Level::DEBUG).then(|| (what, Moment::now())))
}

/// The whole of a command, from the begin of its process.
pub fn whole(verb: &'static str) -> Step {
    Step(tracing::enabled!(Level::DEBUG).then(|| (verb, began())))
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some((what, began)) = self.0 {
            let took = Moment::now().since(began).as_secs_f64() * 1e3;
            tracing::debug!("took {took:.3} ms: {what}");
        }
    }
}
