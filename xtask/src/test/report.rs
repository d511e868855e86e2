//! The counts and the longest jobs.

use std::fs;
use std::time::{Duration, Instant};

use super::job::Done;

/// How many jobs are named.
const LONGEST: usize = 20;

/// All jobs of the run.
#[derive(Debug, Default)]
pub struct Report {
    done: Vec<Done>,
    guests: Option<Guests>,
}

/// The part of the run in which guests run.
#[derive(Debug)]
pub struct Guests {
    slots: usize,
    started: Instant,
    processors: Option<Processors>,
    took: Duration,
    idle: Option<f64>,
}

impl Report {
    pub fn add(&mut self, done: Done) {
        println!("{}", done.line());
        self.done.push(done);
    }

    pub fn guests_begin(&mut self, slots: usize) {
        let (took, idle) = (Duration::ZERO, None);
        let processors = Processors::now();
        self.guests = Some(Guests { slots, started: Instant::now(), processors, took, idle });
    }

    pub fn guests_end(&mut self) {
        if let Some(guests) = &mut self.guests {
            guests.took = guests.started.elapsed();
            let now = guests.processors.take().zip(Processors::now());
            guests.idle = now.map(|(before, now)| now.idle_since(&before));
        }
    }

    /// Whether every job passed.
    pub fn is_well(&self) -> bool {
        self.done.iter().all(|done| done.fault.is_none())
    }

    /// Prints the report. The last line has the counts.
    pub fn print(&self, took: Duration) {
        for done in self.done.iter().filter(|done| !done.broken.is_empty()) {
            for why in &done.broken {
                println!("== a guest of {} broke: {why}", done.name);
            }
        }
        println!("\n| job | boot s | test s | processor s |\n|---|---|---|---|");
        let mut longest: Vec<&Done> = self.done.iter().collect();
        longest.sort_by_key(|done| std::cmp::Reverse(done.boot + done.test));
        for done in longest.iter().take(LONGEST) {
            let times = [done.boot, done.test, done.spent].map(seconds).join(" | ");
            println!("| {} | {times} |", done.name);
        }
        if let Some(guests) = &self.guests {
            println!("\n{}", guests.line(&self.done));
        }
        println!("all of it: {} s", seconds(took));
        let faults: Vec<_> = self.done.iter().filter(|done| done.fault.is_some()).collect();
        for done in &faults {
            println!("{}", done.line());
        }
        let sum = |of: fn(&Done) -> u64| self.done.iter().map(of).sum::<u64>();
        println!("{} passed, {} failed", sum(|d| d.tally.passed), sum(|d| d.tally.failed));
    }
}

impl Guests {
    fn line(&self, done: &[Done]) -> String {
        let of = |part: fn(&Done) -> Duration| {
            done.iter().filter(|done| !done.here).map(part).sum::<Duration>()
        };
        let (boot, test) = (of(|done| done.boot), of(|done| done.test));
        let all = self.took * u32::try_from(self.slots).unwrap_or(u32::MAX);
        let idle = all.saturating_sub(boot + test);
        let processors = match self.idle {
            Some(part) => format!("{:.0} % of the processors' time was idle", part * 100.0),
            None => "no figure of the processors' time".to_owned(),
        };
        format!(
            "guests: {} s in {} slots, of which boot {} s, test {} s, idle {} s; {processors}",
            seconds(self.took),
            self.slots,
            seconds(boot),
            seconds(test),
            seconds(idle)
        )
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64())
}

/// The first line of proc_stat(5).
#[derive(Debug)]
struct Processors {
    idle: u64,
    all: u64,
}

impl Processors {
    fn now() -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let words = text.lines().next()?.split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>().ok()?;
        // The fields: user nice system idle iowait irq softirq steal.
        Some(Self { idle: ticks.get(3)? + ticks.get(4)?, all: ticks.iter().sum() })
    }

    fn idle_since(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.idle.saturating_sub(before.idle) as f64 / all as f64
    }
}
