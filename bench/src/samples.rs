//! The times of many rounds, by arm and step.

use serde_json::{Map, Value, json};

use crate::clock::Clock;

/// The name of the sum of an operation's steps.
pub const TOTAL: &str = "total";

/// The milliseconds of one step in every round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Times(Vec<f64>);

impl Times {
    /// Adds a round.
    pub fn push(&mut self, time: f64) {
        self.0.push(time);
    }

    /// The number of rounds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The percentile `part` (0 to 1), by nearest rank. Zero if nothing was measured.
    #[must_use]
    pub fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
    }

    /// The median.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The 99th percentile. With fewer than 100 rounds this is the slowest round.
    #[must_use]
    pub fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    /// The times, each less `milliseconds`.
    #[must_use]
    pub fn less(&self, milliseconds: f64) -> Self {
        Self(self.0.iter().map(|time| time - milliseconds).collect())
    }

    /// A part of the rounds, in their order.
    #[must_use]
    pub fn part(&self, rounds: std::ops::Range<usize>) -> Self {
        Self(self.0[rounds].to_vec())
    }
}

/// The times of each arm, operation and step, in the order in which they first came.
#[derive(Debug, Default)]
pub struct Samples(Vec<(Key, Times)>);

type Key = (String, &'static str, &'static str);

impl Samples {
    /// Adds an operation's steps and their sum.
    pub fn file(&mut self, arm: &str, operation: &'static str, clock: &Clock) {
        for (step, time) in clock.steps() {
            self.times(arm, operation, step).push(*time);
        }
        self.times(arm, operation, TOTAL).push(clock.total());
    }

    fn times(&mut self, arm: &str, operation: &'static str, step: &'static str) -> &mut Times {
        let key = (arm.to_owned(), operation, step);
        let at = self.0.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
            self.0.push((key, Times::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    /// The times of one step; `None` if the arm has no such step.
    #[must_use]
    pub fn get(&self, arm: &str, operation: &str, step: &str) -> Option<&Times> {
        self.0
            .iter()
            .find(|((a, o, s), _)| (a.as_str(), *o, *s) == (arm, operation, step))
            .map(|(_, times)| times)
    }

    /// The arms, in order.
    #[must_use]
    pub fn arms(&self) -> Vec<&str> {
        let mut arms: Vec<&str> = Vec::new();
        for ((arm, _, _), _) in &self.0 {
            if !arms.contains(&arm.as_str()) {
                arms.push(arm);
            }
        }
        arms
    }

    /// Every operation and step that some arm has. The sum is the last step of its operation.
    #[must_use]
    pub fn steps(&self) -> Vec<(&'static str, &'static str)> {
        let mut steps = Vec::new();
        for ((_, operation, step), _) in &self.0 {
            if !steps.contains(&(*operation, *step)) {
                steps.push((*operation, *step));
            }
        }
        let mut operations: Vec<&str> = Vec::new();
        for (operation, _) in &steps {
            if !operations.contains(operation) {
                operations.push(operation);
            }
        }
        steps.sort_by_key(|(operation, step)| {
            (operations.iter().position(|o| o == operation), *step == TOTAL)
        });
        steps
    }

    /// Every time, by arm, operation and step.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut arms = Map::new();
        for ((arm, operation, step), Times(times)) in &self.0 {
            let rounded: Vec<f64> = times.iter().map(|t| (t * 1e3).round() / 1e3).collect();
            let entry = arms.entry(arm).or_insert_with(|| json!({}));
            entry[*operation][*step] = json!(rounded);
        }
        Value::Object(arms)
    }
}
