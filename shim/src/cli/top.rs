//! `top`.

use clap::Args;

// `top`
#[derive(Debug, Args)]
pub struct Top {
    /// Print the table once; this is also so if standard output is not a terminal
    #[arg(long)]
    pub once: bool,
    /// Print JSON once
    #[arg(long)]
    pub json: bool,
    /// The seconds between two updates
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub interval: u64,
    /// Show also mounted bases that no container uses
    #[arg(long)]
    pub all: bool,
}
