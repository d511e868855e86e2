//! `config`.

use clap::Subcommand;

/// `config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print every key with its value and who said it: the default, the file, or the environment
    Show {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Print a file in which every key is explained and has its default
    Default,
}
