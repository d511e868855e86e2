//! `top`.

use clap::Args;

// `top`
#[derive(Debug, Args)]
pub struct Top {
    /// Show the table once; so it is where standard output is no terminal
    #[arg(long)]
    pub once: bool,
    /// For programs; once
    #[arg(long)]
    pub json: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub interval: u64,
    /// Also mounted bases that no container uses
    #[arg(long)]
    pub all: bool,
}
