//! Why an image cannot be imported.

use std::io;
use std::path::PathBuf;

use sharedroot_format::Digest;

use super::archive::TarError;
use super::unpack_error::UnpackError;

/// A step of an import that failed, with what it was about. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file of the source.
    #[error("read {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing that could hold an image.
    #[error(
        "{path} is {found}; an OCI layout, an archive of `docker save` or a directory can be imported"
    )]
    NoSource {
        /// What was given.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// The archive itself.
    #[error("{path} is no archive of an image: {source}")]
    Source {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: TarError,
    },
    /// A file that another one names.
    #[error("{path} has no file {name}: it is incomplete; save the image again")]
    Missing {
        /// The source.
        path: PathBuf,
        /// The file in it.
        name: String,
    },
    /// A manifest, index or configuration.
    #[error("{name} of {path}: {source}")]
    Json {
        /// The source.
        path: PathBuf,
        /// The file in it.
        name: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Not what its digest says.
    #[error(
        "{name} of {path} has the digest {found}, and {expected} was expected: it is damaged; save the image again"
    )]
    Digest {
        /// The source.
        path: PathBuf,
        /// The file in it, or the layer.
        name: String,
        /// What names it.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// Not as long as its descriptor says.
    #[error(
        "{name} of {path} has {found} bytes, and {expected} were expected: it is damaged; save the image again"
    )]
    Size {
        /// The source.
        path: PathBuf,
        /// The file in it.
        name: String,
        /// What its descriptor says.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// An image for other machines.
    #[error("{path} has no image for {wanted}, but for {}", .there.join(", "))]
    Platform {
        /// The source.
        path: PathBuf,
        /// This host.
        wanted: String,
        /// What there is.
        there: Vec<String>,
    },
    /// More than one image.
    #[error("{path} holds several images; give the name of one of them: {}", .images.join(", "))]
    Several {
        /// The source.
        path: PathBuf,
        /// Their names.
        images: Vec<String>,
    },
    /// An image that cannot be one.
    #[error("the image in {path} cannot be used: {what}")]
    Image {
        /// The source.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A layer.
    #[error("layer {at} of {of} of {path}: {source}")]
    Layer {
        /// The source.
        path: PathBuf,
        /// Which, from the lowest, from 1.
        at: usize,
        /// How many there are.
        of: usize,
        /// Why it cannot be unpacked.
        source: UnpackError,
    },
    /// The disk of a pool on loop files.
    #[error(
        "the base needs {needed} MiB of the pool: the file system of {path} has {free} MiB left, of which 256 stay free; \
         make room there, or set pool.state_dir to a larger disk"
    )]
    Room {
        /// The state directory.
        path: PathBuf,
        /// MiB of the image's files.
        needed: u64,
        /// MiB that are free.
        free: u64,
    },
    /// The place for unpacking.
    #[error("{step} {path}: {source}")]
    Scratch {
        /// What was tried.
        step: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory that another process writes.
    #[error("{path} changed while it was read; import it when nobody writes to it")]
    Changed {
        /// The directory.
        path: PathBuf,
    },
    /// A directory with what only overlay understands.
    #[error(
        "{path} in the directory is a mark of overlay's ({mark}): it is a layer and no whole tree; import the image it is of"
    )]
    Layered {
        /// The file.
        path: PathBuf,
        /// The mark.
        mark: &'static str,
    },
}
