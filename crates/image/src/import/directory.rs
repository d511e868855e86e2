//! A directory that is a whole root file system. The key of its base is made from its content.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use sharedroot_format::BaseKey;

use super::beneath;
use super::error::ImportError;
use crate::image::Image;
use crate::init_layer::InitFiles;
use crate::source::Source;
use crate::top::Top;
use crate::tree_digest;
use crate::walk::{WalkError, walk};

/// Takes the directory for an image of one layer. Reads the whole tree, whose files have at most `most` bytes together, with
/// their holes: the key is made from its digest.
///
/// # Errors
/// [`ImportError::Open`]; [`ImportError::Large`]; [`ImportError::Layered`] if the directory is a layer of an engine and no
/// whole root file system.
pub fn directory(path: &Path, most: u64) -> Result<Image, ImportError> {
    let failed = |source| ImportError::Open { path: path.to_owned(), source };
    let path = path.canonicalize().map_err(failed)?;
    let top = File::open(&path).map_err(failed)?;
    // Before any content is read: the digest takes every byte, also of holes.
    let mut bytes = 0_u64;
    walk(top.as_fd(), |found| {
        if found.content.is_some() {
            bytes = bytes.saturating_add(u64::try_from(found.stat.st_size).unwrap_or(0));
        }
        if bytes > most {
            return Err(ImportError::Large { path: path.clone(), most: most >> 20 });
        }
        let marked = |mark| Err(ImportError::Layered { path: found.path.clone(), mark });
        if beneath::is_whiteout(&found.stat) {
            return marked("a character device 0:0");
        }
        match beneath::has_overlay_mark(&path.join(&found.path)) {
            true => marked("an attribute trusted.overlay"),
            false => Ok(()),
        }
    })?;
    let digest = tree_digest(top.as_fd(), |_| ())?;
    let mut hash = Sha256::new();
    hash.update(format!("directory\0{digest}"));
    Ok(Image {
        key: BaseKey::of_digest(hash.finalize().into()),
        chain_id: None,
        source: Source::Import { path: path.clone() },
        layers: vec![path],
        upper: None,
        init: InitFiles::AsDocker,
        top: Top::OF_DOCKER,
    })
}

impl From<WalkError> for ImportError {
    fn from(error: WalkError) -> Self {
        Self::Open { path: error.path, source: error.source }
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
