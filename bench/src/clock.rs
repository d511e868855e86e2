//! One operation, timed step by step.

use std::time::Instant;

/// The steps of one operation in the order they ran, in milliseconds.
#[derive(Debug, Default)]
pub struct Clock {
    steps: Vec<(&'static str, f64)>,
}

impl Clock {
    /// Runs and times one step.
    pub fn step<T>(&mut self, name: &'static str, body: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let value = body();
        self.steps.push((name, start.elapsed().as_secs_f64() * 1e3));
        value
    }

    /// Adds a step that was timed elsewhere.
    pub fn add(&mut self, name: &'static str, milliseconds: f64) {
        self.steps.push((name, milliseconds));
    }

    /// The steps.
    #[must_use]
    pub fn steps(&self) -> &[(&'static str, f64)] {
        &self.steps
    }

    /// The sum of the steps. The caller's time between two steps does not count.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.steps.iter().map(|(_, time)| time).sum()
    }
}
