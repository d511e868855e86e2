//! `metrics`.

use std::path::PathBuf;

use clap::Args;

// `metrics`
#[derive(Debug, Args)]
pub struct Metrics {
    /// Replace this file at once, as node_exporter's textfile collector wants it, instead of printing
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
