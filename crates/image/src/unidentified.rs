//! Why an image stays unidentified, so that its container runs on the engine's rootfs.

use std::io;
use std::path::PathBuf;

use sharedroot_format::NotAChainId;

/// Why the image of a rootfs is not known. The container runs on the engine's rootfs, and the log has this reason.
#[derive(Debug, thiserror::Error)]
pub enum Unidentified {
    /// The rootfs is not in Docker's layer database.
    #[error("{root_path} is not the rootfs of a Docker container with the overlay2 driver")]
    NotADockerRootfs {
        /// The bundle's root path.
        root_path: PathBuf,
    },
    /// No overlay is mounted at the rootfs.
    #[error("no overlay is mounted at {root_path} ({found})")]
    NoOverlayAtRoot {
        /// The bundle's root path.
        root_path: PathBuf,
        /// What is there instead of an overlay.
        found: String,
    },
    /// The image has no layer, so there is nothing to share.
    #[error("the image of container {container_id} has no layers")]
    NoLayers {
        /// The container.
        container_id: String,
    },
    /// Two records of the engine contradict each other.
    #[error("{path} says {found:?}, but {expected:?} was expected")]
    Disagree {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: String,
        /// What the file should say by the other record.
        expected: String,
    },
    /// The layers that the driver stacked are not the layers of the image's chain.
    #[error(
        "{path} stacks {stacked} layers, the chain of the image has {chained}; they differ first \
         at layer {at}, counted from the top"
    )]
    LayersDisagree {
        /// The file with the container's list of lower directories.
        path: PathBuf,
        /// How many layers the list has without the init layer.
        stacked: usize,
        /// How many layers the chain has.
        chained: usize,
        /// The first layer that differs, from the top; the topmost is 1.
        at: usize,
    },
    /// A part of the engine's store cannot be read.
    #[error("read {path}")]
    LayerStore {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file of the engine's store holds no chain ID.
    #[error("{path}")]
    ChainId {
        /// The file.
        path: PathBuf,
        /// What the file holds.
        source: NotAChainId,
    },
    /// The chain of an image is longer than any that can be mounted.
    #[error("{path}: the chain of layers has more than {limit} links")]
    ChainTooLong {
        /// The directory of the image in the layer database.
        path: PathBuf,
        /// overlay's own limit.
        limit: usize,
    },
    /// The path of a layer is relative, and no record has the directory that it begins in.
    #[error("the overlay at {root_path} names its layer {layer:?} by a relative path")]
    RelativeLayer {
        /// The bundle's root path.
        root_path: PathBuf,
        /// The layer.
        layer: PathBuf,
    },
    /// The directory is not in the store of an engine, so it may change at any time.
    #[error("{layer} is not a layer of containerd's, podman's or Docker's store")]
    NotALayer {
        /// The layer directory.
        layer: PathBuf,
    },
    /// An option of the overlay changes the meaning of its layers.
    #[error("the overlay at {root_path} has the option {option:?}, which changes what layers mean")]
    OverlayOption {
        /// The bundle's root path.
        root_path: PathBuf,
        /// The option.
        option: String,
    },
    /// A later directory at the path of the layer could not be told from the layer.
    #[error("the file system of {layer} records no birth times, so the layer has no identity")]
    NoIdentity {
        /// The layer directory.
        layer: PathBuf,
    },
}
