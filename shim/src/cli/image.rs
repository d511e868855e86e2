//! `image`: the command line for the bases.

use std::path::PathBuf;

use clap::Subcommand;

// `image`
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Make the base of an image that no engine of this host has pulled
    #[command(
        long_about = "Make the base of an image that no engine of this host has pulled.\n\nThe base of an OCI \
        layout or an archive of `docker save` is the base that a Docker container of the image would make, so such a \
        container finds the base. Every digest is checked."
    )]
    Import {
        /// An OCI layout (directory or tar), an archive of `docker save`, or a directory with a root file system
        source: PathBuf,
        /// A name for the base, usable in place of its key. If SOURCE has several images, the one to import
        name: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the bases
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the details of a base as JSON
    Inspect {
        /// A name, a key, or the beginning of a key that `image list` shows
        base: String,
    },
    /// Delete a base that no container uses; the next container of the image makes the base again
    Rm {
        /// A name, a key, or the beginning of a key that `image list` shows
        base: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Compare a base, byte by byte, with the content from which the base was made
    Verify {
        /// A name, a key, or the beginning of a key that `image list` shows
        base: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the files of a base as a tar; the same base always gives the same bytes
    Export {
        /// A name, a key, or the beginning of a key that `image list` shows
        base: String,
        /// The file to write; without this flag, standard output
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
}
