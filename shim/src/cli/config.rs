//! `config`.

use clap::Subcommand;

// `config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Print every key with its value and its origin: the default, the file or the environment
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a configuration file with every key, its explanation and its default
    Default,
}
