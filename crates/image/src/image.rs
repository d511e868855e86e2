//! An image, as far as one container tells of it.

use std::fs;
use std::path::PathBuf;

use sharedroot_format::{BaseKey, ChainId};

use crate::init_layer::InitFiles;
use crate::source::Source;
use crate::top::Top;
use crate::unidentified::Unidentified;

/// An image as the layers that an engine stacked for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Names the base; equal keys mean equal bases.
    pub key: BaseKey,
    /// The chain ID, where the engine tells it.
    pub chain_id: Option<ChainId>,
    /// The layer directories, topmost first, absolute, without the engine's init layer.
    pub layers: Vec<PathBuf>,
    /// The container's own upper directory.
    pub upper: Option<Upper>,
    /// What the engine puts on top of the layers, and so the base too.
    pub init: InitFiles,
    /// The container's `/`. Its owner, who is the container's root user on the host, owns the init files, too.
    pub top: Top,
    /// Who told.
    pub source: Source,
}

/// The directory that takes what a container writes over its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upper {
    /// The directory.
    pub path: PathBuf,
    /// Whether it holds nothing: the container is the image, and no more.
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
    /// What is known of the base `key`, whatever it was made from.
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
