//! `doctor`.

use clap::Args;

/// Check kernel, tools, pool, labels and engines, and print a remedy for each problem
///
/// `doctor` changes nothing and activates nothing. It prints one line for each check: `ok`, `warning` (the part works,
/// but not as well as it could) or `problem`. A warning and a problem have a remedy. The exit status is 0 if every
/// check is ok, 1 if there are only warnings, and 2 if there is a problem.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
