//! The remaining work in guests, and what a free slot does next.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use super::extra::Extra;
use super::program::Program;
use super::sequences::Sequence;
use crate::lab::GuestOptions;

/// A second guest for the same programs must have more work than this, because it has to boot.
const WORTH_A_BOOT: Duration = Duration::from_secs(30);

/// What a slot does next.
#[derive(Debug)]
pub enum Next {
    /// A job with guests of its own.
    Sequence(Sequence),
    /// A guest for these programs.
    Serve(Arc<Kind>),
}

/// Programs with equal options of the guest.
#[derive(Debug)]
pub struct Kind {
    pub options: GuestOptions,
    /// A guest runs one program only.
    pub alone: bool,
    queue: Mutex<Queue>,
    made: Arc<Made>,
}

/// The extra files that exist already.
#[derive(Debug, Default)]
struct Made(Mutex<Vec<Extra>>);

impl Made {
    /// Whether the files are there that a sequence needs.
    fn has_all_of(&self, sequence: &Sequence) -> bool {
        sequence.program().is_none_or(|program| self.has_all(program))
    }

    fn has_all(&self, program: &Program) -> bool {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        program.needs.iter().flat_map(|needs| &needs.with).all(|extra| made.contains(extra))
    }
}

#[derive(Debug, Default)]
struct Queue {
    programs: VecDeque<Program>,
    guests: u32,
}

impl Kind {
    /// The next program for a running guest.
    pub fn take(&self) -> Option<Program> {
        let mut queue = self.queue();
        let at = queue.programs.iter().position(|program| self.made.has_all(program))?;
        queue.programs.remove(at)
    }

    /// Gives back a program whose guest broke, for another guest.
    pub fn give_back(&self, program: Program) {
        self.queue().programs.push_front(program);
    }

    /// Counts a guest of this kind as ended.
    pub fn guest_ended(&self) {
        self.queue().guests -= 1;
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The work that is left for one more guest.
    fn share(&self) -> Option<Duration> {
        let queue = self.queue();
        let ready = || queue.programs.iter().filter(|program| self.made.has_all(program));
        let first = ready().next()?;
        if self.alone {
            // Each program has a guest of its own. The longest program comes first.
            return Some(first.expected + WORTH_A_BOOT);
        }
        let left: Duration = ready().map(|program| program.expected).sum();
        let share = left / (queue.guests + 1);
        (queue.guests == 0 || share > WORTH_A_BOOT).then_some(share)
    }
}

/// All remaining work.
#[derive(Debug, Default)]
pub struct Work {
    sequences: Mutex<VecDeque<Sequence>>,
    kinds: Vec<Arc<Kind>>,
    made: Arc<Made>,
    wanted: Vec<Extra>,
}

impl Work {
    /// Sequences come first, in their order, because a sequence cannot be divided among guests.
    pub fn new(sequences: Vec<Sequence>, mut programs: Vec<Program>) -> Self {
        programs.sort_by_key(|program| std::cmp::Reverse(program.expected));
        let mut kinds: Vec<Arc<Kind>> = Vec::new();
        let (made, mut wanted) = (Arc::<Made>::default(), Vec::new());
        let all = programs.iter().chain(sequences.iter().filter_map(Sequence::program));
        for extra in all.flat_map(|program| &program.needs).flat_map(|needs| &needs.with) {
            if !wanted.contains(extra) {
                wanted.push(*extra);
            }
        }
        for program in programs {
            let needs = &program.needs[0];
            let alike =
                |kind: &&Arc<Kind>| kind.options == needs.guest && kind.alone == needs.alone;
            let kind = match kinds.iter().find(alike) {
                Some(kind) => kind,
                None => {
                    let (options, alone) = (needs.guest.clone(), needs.alone);
                    kinds.push(Arc::new(Kind {
                        options,
                        alone,
                        queue: Mutex::default(),
                        made: Arc::clone(&made),
                    }));
                    kinds.last().expect("a kind")
                }
            };
            kind.queue().programs.push_back(program);
        }
        Self { sequences: Mutex::new(sequences.into()), kinds, made, wanted }
    }

    /// The extra files that the tests need.
    pub fn wanted(&self) -> impl Iterator<Item = Extra> {
        self.wanted.iter().copied()
    }

    /// Marks an extra as made. If it could not be made, the tests that need it fail.
    pub fn made(&self, extra: Extra) {
        self.made.0.lock().unwrap_or_else(PoisonError::into_inner).push(extra);
    }

    /// What a free slot does next; `None` if no work is left. Waits if all remaining programs need an extra that is being made.
    pub fn next(&self) -> Option<Next> {
        loop {
            if let Some(next) = self.ready() {
                return Some(next);
            }
            let mut kinds = self.kinds.iter();
            if kinds.all(|kind| kind.queue().programs.iter().all(|p| self.made.has_all(p)))
                && self.sequences().is_empty()
            {
                return None;
            }
            sleep(Duration::from_millis(500));
        }
    }

    fn sequences(&self) -> std::sync::MutexGuard<'_, VecDeque<Sequence>> {
        self.sequences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ready(&self) -> Option<Next> {
        let mut sequences = self.sequences();
        let at = sequences.iter().position(|sequence| self.made.has_all_of(sequence));
        if let Some(sequence) = at.and_then(|at| sequences.remove(at)) {
            return Some(Next::Sequence(sequence));
        }
        // Counted under the lock, so that each of two slots sees the other's guest.
        let shares = self.kinds.iter().filter_map(|kind| Some((kind.share()?, kind)));
        let (_, kind) = shares.max_by_key(|(share, _)| *share)?;
        kind.queue().guests += 1;
        Some(Next::Serve(Arc::clone(kind)))
    }
}
