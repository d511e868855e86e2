//! Named steps of a change at which a test stops this process, to kill it or to cut the power there.
//!
//! Compiled in with the feature `failpoints` only, which nothing but the crash tests turns on. `SHAREDROOT_HOLD_AT=trace`
//! prints every step that is reached; a number holds the process at the step of that number, counted from 0.

/// The process has come to this step.
#[cfg(feature = "failpoints")]
pub(crate) fn step(name: &'static str) {
    use std::sync::atomic::{AtomicUsize, Ordering};

    static REACHED: AtomicUsize = AtomicUsize::new(0);
    let number = REACHED.fetch_add(1, Ordering::SeqCst);
    match std::env::var("SHAREDROOT_HOLD_AT") {
        Ok(text) if text == "trace" => println!("step {number} {name}"),
        Ok(text) if text.parse() == Ok(number) => {
            println!("held {number} {name}");
            loop {
                std::thread::park();
            }
        }
        _ => {}
    }
}

/// The process has come to this step.
#[cfg(not(feature = "failpoints"))]
pub(crate) const fn step(_name: &'static str) {}
