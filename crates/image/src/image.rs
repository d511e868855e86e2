//! An image, as it is known from one container.

use std::fs;
use std::path::PathBuf;

use sharedroot_format::{BaseKey, ChainId};

use crate::init_layer::InitFiles;
use crate::source::Source;
use crate::top::Top;
use crate::unidentified::Unidentified;

/// An image: the layers that an engine stacked for one container, and what the container adds to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The key of the base. Equal keys mean equal bases.
    pub key: BaseKey,
    /// The chain ID, if the engine has recorded it.
    pub chain_id: Option<ChainId>,
    /// The absolute paths of the layer directories, topmost first, without the engine's init layer.
    pub layers: Vec<PathBuf>,
    /// The upper directory of the container.
    pub upper: Option<Upper>,
    /// The files that the engine adds above the layers, and so the base has, too.
    pub init: InitFiles,
    /// The attributes of the container's `/`. Its owner is the container's root user on the host, who owns the init files, too.
    pub top: Top,
    /// Where the image was found.
    pub source: Source,
}

/// The upper directory of a container's overlay: it takes what the container writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upper {
    /// The directory.
    pub path: PathBuf,
    /// Whether the directory is empty: the container has changed nothing of its image.
    pub empty: bool,
}

impl Upper {
    pub(crate) fn at(path: PathBuf) -> Result<Self, Unidentified> {
        let entries = fs::read_dir(&path);
        let unreadable = |source| Unidentified::LayerStore { path: path.clone(), source };
        let empty = entries.map_err(unreadable)?.next().is_none();
        Ok(Self { path, empty })
    }
}

impl Image {
    /// The image of the base `key`, of which nothing else is known.
    #[must_use]
    pub fn of_base(key: BaseKey) -> Self {
        Self {
            key,
            chain_id: None,
            layers: Vec::new(),
            upper: None,
            init: InitFiles::MountPoints,
            top: Top::OF_DOCKER,
            source: Source::Base,
        }
    }
}
