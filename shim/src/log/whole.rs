//! How long a whole command took, for `--debug`.

use sharedroot_sys::process_start::{Moment, began};
use tracing::Level;

/// A command. When this value is dropped, also because the command failed, a message says how long the command took.
#[derive(Debug)]
#[must_use = "the command ends when this is dropped"]
pub struct Whole(Option<&'static str>);

/// The command of this process, from the beginning of the process.
pub fn whole(verb: &'static str) -> Whole {
    Whole(tracing::enabled!(Level::DEBUG).then_some(verb))
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(verb) = self.0 {
            let took = Moment::now().since(began()).as_secs_f64() * 1e3;
            tracing::debug!("took {took:.3} ms: {verb}");
        }
    }
}
