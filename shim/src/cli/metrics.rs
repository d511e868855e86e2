//! `metrics`.

use std::path::PathBuf;

use clap::Args;

// `metrics`
#[derive(Debug, Args)]
pub struct Metrics {
    /// Replace this file in one step instead of printing, as node_exporter's textfile collector needs it
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
