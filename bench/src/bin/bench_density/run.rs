//! One mode: all pods created, and then deleted.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use sharedroot_bench::{Clock, Samples, Times};
use sharedroot_tests::lab::wait_for;

use crate::disks::Disk;
use crate::look::Look;
use crate::mode::Mode;
use crate::pages::Pages;
use crate::pods::{CREATE, DELETE, Pods};

/// The figures of one mode.
#[derive(Debug)]
pub struct Run {
    pub mode: Mode,
    /// Every pod's times, in their order.
    pub samples: Samples,
    pub wall: Wall,
    /// The state with no pod, with the first pod of each image, after every tenth part of the pods, and with no pod again.
    pub looks: Vec<Look>,
    /// The index of the state with the first pod of each image.
    first: usize,
    /// The pages with all pods.
    pub pages: Pages,
}

/// The seconds of all creations and of all deletions, without the time for figures.
#[derive(Debug, Default, Serialize)]
pub struct Wall {
    pub create: f64,
    pub delete: f64,
}

/// How long to wait for the kernel's grace periods and work queues.
const SETTLING: Duration = Duration::from_secs(1);

/// The numbers of pods at which figures are taken: the first of each image, and then every tenth part.
fn steps(images: usize, pods: usize) -> Vec<usize> {
    let mut steps: Vec<usize> = (1..=10).map(|tenth| pods * tenth / 10).collect();
    steps.push(images);
    steps.sort_unstable();
    steps.dedup();
    steps
}

impl Run {
    pub fn of(mode: Mode, pods: &dyn Pods, number: usize, parallel: usize, disks: &[Disk]) -> Self {
        let (mut samples, mut wall) = (Samples::default(), Wall::default());
        settle(pods, 0);
        let mut looks = vec![Look::at(pods, 0, disks)];
        let mut running = 0;
        for step in steps(pods.layers().len(), number) {
            let (clocks, seconds) = at_once(parallel, running..step, |pod| pods.create(pod));
            clocks.iter().for_each(|clock| samples.file(mode.name(), CREATE, clock));
            wall.create += seconds;
            running = step;
            eprintln!("density: {}: {running} run, {:.0} s", mode.name(), wall.create);
            settle(pods, running);
            looks.push(Look::at(pods, running, disks));
        }
        let pages = Pages::of(pods, number);
        let (clocks, seconds) = at_once(parallel, 0..number, |pod| pods.delete(pod));
        clocks.iter().for_each(|clock| samples.file(mode.name(), DELETE, clock));
        wall.delete = seconds;
        settle(pods, 0);
        looks.push(Look::at(pods, 0, disks));
        let first = pods.layers().len();
        let first = looks.iter().position(|look| look.pods == first).expect("a step of its own");
        Self { mode, samples, wall, looks, first, pages }
    }

    /// The times of one operation of every pod.
    pub fn times(&self, operation: &str, step: &str) -> &Times {
        self.samples.get(self.mode.name(), operation, step).expect("every mode has this step")
    }

    /// The state with the first pod of each image.
    pub fn one(&self) -> &Look {
        &self.looks[self.first]
    }

    /// The state with all pods.
    pub fn full(&self) -> &Look {
        &self.looks[self.looks.len() - 2]
    }

    /// How much each pod, except the first of its image, added to a figure.
    pub fn each(&self, figure: impl Fn(&Look) -> f64) -> f64 {
        let (one, all) = (self.one(), self.full());
        (figure(all) - figure(one)) / (all.pods - one.pods) as f64
    }

    pub fn json(&self) -> Value {
        let mut times = self.samples.json();
        serde_json::json!({
            "mode": self.mode.name(),
            "what": self.mode.what(),
            "milliseconds": times[self.mode.name()].take(),
            "wall_seconds": self.wall,
            "looks": self.looks,
            "pages": self.pages,
        })
    }
}

/// Waits until every pod runs the image's program, because `start` returns before the program is read, and until the kernel has
/// freed what the commands have left.
fn settle(pods: &dyn Pods, running: usize) {
    for pod in 0..running {
        let comm = format!("/proc/{}/comm", pods.pid(pod));
        wait_for("the pod runs its program", || {
            (fs::read_to_string(&comm).expect("the pod runs").trim() == "pause").then_some(())
        });
    }
    thread::sleep(SETTLING);
}

/// Calls `act` for each pod. Returns the results in the order of the pods, and the seconds until the last one has ended.
fn at_once(
    parallel: usize,
    pods: std::ops::Range<usize>,
    act: impl Fn(usize) -> Clock + Sync,
) -> (Vec<Clock>, f64) {
    let next = AtomicUsize::new(pods.start);
    let work = || {
        let mut done = Vec::new();
        loop {
            let pod = next.fetch_add(1, Ordering::Relaxed);
            if pod >= pods.end {
                return done;
            }
            done.push((pod, act(pod)));
        }
    };
    let start = Instant::now();
    let mut all: Vec<(usize, Clock)> = if parallel == 1 {
        work()
    } else {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..parallel).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|t| t.join().expect("a thread's pods")).collect()
        })
    };
    let wall = start.elapsed().as_secs_f64();
    all.sort_by_key(|(pod, _)| *pod);
    (all.into_iter().map(|(_, clock)| clock).collect(), wall)
}

#[cfg(test)]
mod tests {
    use super::steps;

    #[test]
    fn figures_are_taken_at_the_first_of_each_image_and_at_every_tenth_part() {
        assert_eq!(steps(1, 1000)[..3], [1, 100, 200]);
        assert_eq!(steps(1, 10), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(steps(30, 105), [10, 21, 30, 31, 42, 52, 63, 73, 84, 94, 105]);
    }
}
