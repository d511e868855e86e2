//! The results: every container, and figures of many containers.

use serde::Serialize;
use sharedroot_bench::Times;

use crate::arm::Arm;
use crate::hello::Hello;

/// All results.
#[derive(Debug)]
pub struct Found {
    pub firsts: Vec<First>,
    pub hellos: Vec<Line>,
}

/// An image and its first container.
#[derive(Debug, Serialize)]
pub struct First {
    pub image: &'static str,
    /// The size that Docker prints.
    pub bytes: u64,
    /// The time to the first useful work, which includes making the base.
    pub ms: f64,
}

/// Another container.
#[derive(Debug, Serialize)]
pub struct Line {
    pub image: &'static str,
    pub arm: &'static str,
    pub state: State,
    pub round: usize,
    #[serde(flatten)]
    pub hello: Hello,
}

/// What of the image is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing is in memory, and no base is mounted.
    Cold,
    /// The pages that a cold container has left are in memory.
    Warm,
}

impl Found {
    pub fn first(&self, image: &str) -> &First {
        self.firsts.iter().find(|first| first.image == image).expect("every image has one")
    }

    /// One figure of every container of an image and arm.
    pub fn figures(&self, at: Place, figure: impl Fn(&Hello) -> f64) -> Times {
        let (image, arm, state) = at;
        let mut times = Times::default();
        let lines = self
            .hellos
            .iter()
            .filter(|line| (line.image, line.arm, line.state) == (image, arm.name(), state));
        lines.for_each(|line| times.push(figure(&line.hello)));
        times
    }

    /// The milliseconds to the first useful work.
    pub fn times(&self, at: Place) -> Times {
        self.figures(at, |hello| hello.ms)
    }
}

/// The image, the arm and the state of some containers.
pub type Place = (&'static str, Arm, State);
