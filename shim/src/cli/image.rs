//! `image`: the command line for the bases.

use std::path::PathBuf;

use clap::Subcommand;

/// `image`
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Make the base of an image that no engine of this host has pulled
    #[command(
        long_about = "Make the base of an image that no engine of this host has pulled.\n\nThe base of an OCI \
        layout or an archive of `docker save` is the one that a Docker container of the image would make, and such a \
        container finds it made already. Every digest is checked."
    )]
    Import {
        /// An OCI layout (directory or tar), an archive of `docker save`, or a directory that is a root
        source: PathBuf,
        /// A name for the base, usable in place of its key; of several images in SOURCE, the one to import
        name: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// List the bases
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Print what is known of a base as JSON
    Inspect {
        /// A name, a key, or the beginning of one that `image list` shows
        base: String,
    },
    /// Delete a base that no container uses; the image's next container makes it anew
    Rm {
        /// A name, a key, or the beginning of one that `image list` shows
        base: String,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Compare a base, byte by byte, with what it was made from
    Verify {
        /// A name, a key, or the beginning of one that `image list` shows
        base: String,
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Write a base's files as a tar, the same for the same base
    Export {
        /// A name, a key, or the beginning of one that `image list` shows
        base: String,
        /// The file to write; standard output without it
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
}
