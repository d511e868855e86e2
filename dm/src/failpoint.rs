//! Named steps of a change. A test stops the process at a step, and then kills the process or cuts the power.
//!
//! The steps are compiled in with the feature `failpoints`, which only the crash tests enable. `SHAREDROOT_HOLD_AT=trace`
//! prints every step that the process reaches. A number holds the process at the step of that number, counted from 0.

/// The process reaches this step.
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

/// Does nothing without the feature.
#[cfg(not(feature = "failpoints"))]
pub(crate) const fn step(_name: &'static str) {}
