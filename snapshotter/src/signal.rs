//! Work that many threads ask for, and one thread does in rounds.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the first pause before another try is. Each further pause is twice as long.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// How long somebody waits for a round that began after his request.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many rounds were asked for, and how many are done.
#[derive(Debug, Default)]
pub struct Signal {
    rounds: Mutex<Rounds>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Rounds {
    asked: u64,
    done: u64,
    /// The pauses since the last request.
    pauses: u32,
}

impl Signal {
    /// Asks for a round that begins after this call.
    pub fn raise(&self) {
        self.ask();
    }

    /// Asks for a round, and waits for its end. A round that waits for a disk does not keep the caller for ever.
    pub fn raise_and_wait(&self) {
        let mine = self.ask();
        let rounds = self.rounds();
        let done = self.changed.wait_timeout_while(rounds, PATIENCE, |rounds| rounds.done < mine);
        drop(done);
    }

    /// Waits until a round was asked for, or, if there is a `rest`, for a pause. Then does one round.
    pub fn serve(&self, rest: bool, round: impl FnOnce()) {
        let mut rounds = self.rounds();
        if rest && rounds.asked == rounds.done {
            let pause = FIRST.saturating_mul(1 << rounds.pauses.min(16)).min(LONGEST);
            rounds.pauses = rounds.pauses.saturating_add(1);
            let idle = |rounds: &mut Rounds| rounds.asked == rounds.done;
            let waited = self.changed.wait_timeout_while(rounds, pause, idle);
            rounds = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        while !rest && rounds.asked == rounds.done {
            rounds = self.changed.wait(rounds).unwrap_or_else(PoisonError::into_inner);
        }
        let now = rounds.asked;
        drop(rounds);
        round();
        self.rounds().done = now;
        self.changed.notify_all();
    }

    fn ask(&self) -> u64 {
        let mut rounds = self.rounds();
        rounds.asked += 1;
        rounds.pauses = 0;
        self.changed.notify_all();
        rounds.asked
    }

    fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn whoever_waits_gets_a_round_that_began_later() {
        let (signal, count) = (Signal::default(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..3 {
                    signal.serve(false, || {
                        count.fetch_add(1, Ordering::SeqCst);
                    });
                }
            });
            for before in 0..3 {
                assert_eq!(count.load(Ordering::SeqCst), before);
                signal.raise_and_wait();
                assert_eq!(count.load(Ordering::SeqCst), before + 1);
            }
        });
    }

    #[test]
    fn many_requests_are_one_round_and_a_rest_is_tried_again() {
        let (signal, mut count) = (Signal::default(), 0);
        for _ in 0..5 {
            signal.raise();
        }
        signal.serve(false, || count += 1);
        let before = std::time::Instant::now();
        signal.serve(true, || count += 1);
        assert!(before.elapsed() >= FIRST, "after a pause");
        signal.raise();
        signal.serve(true, || count += 1);
        assert_eq!(count, 3);
        assert!(before.elapsed() < LONGEST);
    }
}
