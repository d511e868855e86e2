//! Why an image stays unidentified, so that its rootfs is used as given.

use std::io;
use std::path::PathBuf;

use sharedroot_format::KeyError;

/// A reason to use a rootfs as given. Never an error of the container: one line for the log.
#[derive(Debug, thiserror::Error)]
pub enum Unidentified {
    /// Docker's layer database does not know this rootfs.
    #[error("{root_path} is not the rootfs of a Docker container with the overlay2 driver")]
    NotADockerRootfs {
        /// The bundle's root path.
        root_path: PathBuf,
    },
    /// No overlay is mounted exactly there.
    #[error("no overlay is mounted at {root_path} ({found})")]
    NoOverlayAtRoot {
        /// The bundle's root path.
        root_path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The image has no layer, so there is nothing to share.
    #[error("the image of container {container_id} has no layers")]
    NoLayers {
        /// The container.
        container_id: String,
    },
    /// Two of the engine's records of one container contradict each other.
    #[error("{path} says {found:?}, but {expected:?} was expected")]
    Disagree {
        /// The file.
        path: PathBuf,
        /// What is in it.
        found: String,
        /// What another record lets expect.
        expected: String,
    },
    /// The container's stack and the image's chain are not the same layers.
    #[error(
        "{path} stacks {stacked} layers, the chain of the image has {chained}; they differ first \
         at layer {at}, counted from the top"
    )]
    LayersDisagree {
        /// The container's list of lower directories.
        path: PathBuf,
        /// How many layers it lists without the init layer.
        stacked: usize,
        /// How many layers the chain has.
        chained: usize,
        /// Where they differ.
        at: usize,
    },
    /// A part of the engine's store cannot be read.
    #[error("read {path}: {source}")]
    LayerStore {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the engine's store does not hold what it should.
    #[error("{path}: {source}")]
    ChainId {
        /// The file.
        path: PathBuf,
        /// What it holds.
        source: KeyError,
    },
    /// The chain of an image is longer than any that can be mounted.
    #[error("{path}: the chain of layers has more than {limit} links")]
    ChainTooLong {
        /// The layer database's directory of the image.
        path: PathBuf,
        /// overlay's own limit.
        limit: usize,
    },
    /// A layer that is named relative to a directory that nobody recorded.
    #[error("the overlay at {root_path} names its layer {layer:?} by a relative path")]
    RelativeLayer {
        /// The bundle's root path.
        root_path: PathBuf,
        /// The layer.
        layer: PathBuf,
    },
    /// A directory that is not an engine's layer: nobody promises that it stays as it is.
    #[error("{layer} is not a layer of containerd's, podman's or Docker's store")]
    NotALayer {
        /// The layer directory.
        layer: PathBuf,
    },
    /// The overlay reads its layers in a way that a plain overlay does not.
    #[error("the overlay at {root_path} has the option {option:?}, which changes what layers mean")]
    OverlayOption {
        /// The bundle's root path.
        root_path: PathBuf,
        /// The option.
        option: String,
    },
    /// A layer directory that cannot be told from a later one of the same name.
    #[error("the file system of {layer} records no birth times, so the layer has no identity")]
    NoIdentity {
        /// The layer directory.
        layer: PathBuf,
    },
}
