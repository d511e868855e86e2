//! `events`: the container's figures, once or again and again.

use std::time::Duration;

use serde_json::Value;
use sharedroot_engine::{Embedded, event};

use crate::cli::Events;
use crate::lifecycle::LifecycleError;
use crate::output::{self, say};

/// Prints the events of a container of the embedded engine. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn events(embedded: &Embedded, args: &Events) -> Result<u8, LifecycleError> {
    repeat(args, event(embedded)?, || Ok(Some(event(embedded)?)))
}

/// Prints events until there is no next event. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn repeat(
    args: &Events,
    first: Value,
    mut next: impl FnMut() -> Result<Option<Value>, LifecycleError>,
) -> Result<u8, LifecycleError> {
    let interval = seconds(&args.interval)?;
    say!("{first}");
    while !args.stats && !output::is_lost() {
        std::thread::sleep(interval);
        let Some(event) = next()? else { break };
        say!("{event}");
    }
    Ok(0)
}

fn seconds(text: &str) -> Result<Duration, LifecycleError> {
    text.trim_end_matches('s').parse().ok().filter(|n| *n > 0).map(Duration::from_secs).ok_or_else(
        || LifecycleError::Argument {
            flag: "--interval",
            value: text.to_owned(),
            wanted: "give seconds, such as 5s",
        },
    )
}
