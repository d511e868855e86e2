//! `image`: the command line for the bases.

use clap::Subcommand;

/// `image`
#[derive(Debug, Subcommand)]
pub enum Image {
    /// List the bases
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Delete a base that no container uses; the image's next container makes it anew
    Rm {
        /// The key, or the beginning that `image list` shows
        key: String,
    },
}
