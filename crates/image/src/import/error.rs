//! Why an image cannot be imported.

use std::io;
use std::path::PathBuf;

use sharedroot_format::Digest;

use super::tar_stream::TarError;
use super::unpack_error::UnpackError;

/// A step of an import that failed, with what it was about. Nothing is left of the import.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file of the source cannot be read.
    #[error("read {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The source is of a kind that holds no image.
    #[error(
        "{path} is {found}; an OCI layout, an archive of `docker save` or a directory can be imported"
    )]
    NoSource {
        /// The source.
        path: PathBuf,
        /// What the source is.
        found: &'static str,
    },
    /// The archive is no tar.
    #[error("{path} is no archive of an image")]
    Source {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: TarError,
    },
    /// The source lacks a file that another file names.
    #[error("{path} has no file {name}: the source is incomplete; save the image again")]
    Missing {
        /// The source.
        path: PathBuf,
        /// The file in it.
        name: String,
    },
    /// A manifest, an index or a configuration is no JSON, or of another form.
    #[error("{name} of {path}")]
    Json {
        /// The source.
        path: PathBuf,
        /// The file in it.
        name: String,
        /// What is wrong with the file.
        source: serde_json::Error,
    },
    /// A file or a layer has another digest than its descriptor says.
    #[error(
        "{name} of {path} has the digest {found}, and {expected} was expected: the image is damaged; save it again"
    )]
    Digest {
        /// The source.
        path: PathBuf,
        /// The file in it, or the layer.
        name: String,
        /// The digest in the descriptor or in the configuration.
        expected: Digest,
        /// The digest of the content.
        found: Digest,
    },
    /// A file has another size than its descriptor says.
    #[error(
        "{name} of {path} has {found} bytes, and {expected} were expected: the image is damaged; save it again"
    )]
    Size {
        /// The source.
        path: PathBuf,
        /// The file in it.
        name: String,
        /// The size in the descriptor, in bytes.
        expected: u64,
        /// The size of the file, in bytes.
        found: u64,
    },
    /// The source has images for other platforms only.
    #[error("{path} has no image for {wanted}, but for {}", .there.join(", "))]
    Platform {
        /// The source.
        path: PathBuf,
        /// The platform of this host.
        wanted: String,
        /// The platforms of the images.
        there: Vec<String>,
    },
    /// The source has more than one image, and no name chooses one.
    #[error("{path} holds several images; give the name of one of them: {}", .images.join(", "))]
    Several {
        /// The source.
        path: PathBuf,
        /// The names of the images.
        images: Vec<String>,
    },
    /// The image contradicts itself, or has no layers.
    #[error("the image in {path} cannot be used: {what}")]
    Image {
        /// The source.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A layer cannot be unpacked.
    #[error("layer {at} of {of} of {path}")]
    Layer {
        /// The source.
        path: PathBuf,
        /// The number of the layer; the lowest is 1.
        at: usize,
        /// How many layers the image has.
        of: usize,
        /// Why.
        source: UnpackError,
    },
    /// The disk with the loop files of the pool has no room for the base.
    #[error(
        "the base needs {needed} MiB of the pool: the file system of {path} has {free} MiB left, of which 256 stay free; \
         make room there, or set pool.state_dir to a larger disk"
    )]
    Room {
        /// The state directory.
        path: PathBuf,
        /// MiB that the files of the image take.
        needed: u64,
        /// MiB that are free.
        free: u64,
    },
    /// The layers have more bytes than are unpacked.
    #[error(
        "the layers of {path} have more than {most} MiB together, with the holes of their files, which is four times the size \
         of a base; if you trust the image, set base.size to more"
    )]
    TooLarge {
        /// The source.
        path: PathBuf,
        /// MiB that all layers may have.
        most: u64,
    },
    /// The directory has more bytes than are read.
    #[error(
        "the files of {path} have more than {most} MiB together, with their holes, which is four times the size of a base; if \
         you trust the directory, set base.size to more"
    )]
    Large {
        /// The directory.
        path: PathBuf,
        /// MiB that all files may have.
        most: u64,
    },
    /// The directory for unpacking cannot be used.
    #[error("{step} {path}")]
    Scratch {
        /// The operation.
        step: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory has changed during the import.
    #[error("{path} changed while it was read; import the directory when no process writes to it")]
    Changed {
        /// The directory.
        path: PathBuf,
    },
    /// The directory has whiteouts or attributes of overlay's.
    #[error(
        "{path} in the directory has a mark of overlay's ({mark}): the directory is a layer and no whole root file system; \
         import the image of this layer"
    )]
    Layered {
        /// The file.
        path: PathBuf,
        /// The mark.
        mark: &'static str,
    },
}
