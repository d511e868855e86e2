//! `doctor`.

use clap::Args;

/// Look whether kernel, tools, pool, labels and engines are well, and say how to mend what is not
///
/// Changes nothing and activates nothing. One line for each check: `ok`, `warning` (it works, but not as well as it could)
/// or `problem`, with the remedy. The exit status is 0 where all is well, 1 where there are warnings and no problem, 2 where
/// there is a problem.
#[derive(Debug, Args)]
pub struct Doctor {
    /// For programs
    #[arg(long)]
    pub json: bool,
}
