//! The layers below the one that is unpacked, as overlay will show them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, Stat};

use super::beneath::{exactly, is_dir, is_opaque, is_whiteout, look, os};

/// The layers below the one that is unpacked.
#[derive(Debug, Default)]
pub(super) struct LowerLayers {
    /// The path and the open directory of each layer, topmost first.
    layers: Vec<(PathBuf, OwnedFd)>,
}

impl LowerLayers {
    /// Puts a finished layer on top.
    pub(super) fn push(&mut self, path: PathBuf, layer: OwnedFd) {
        self.layers.insert(0, (path, layer));
    }

    /// The directories of the layers, topmost first.
    pub(super) fn into_paths(self) -> Vec<PathBuf> {
        self.layers.into_iter().map(|(path, _)| path).collect()
    }

    /// Hides all of them: the next layer is opaque at its root.
    pub(super) fn clear(&mut self) {
        self.layers.clear();
    }

    /// The file that overlay shows at the path `names` of the lower layers, and its open directory. A symbolic link on the way
    /// is not followed: there is nothing below it.
    pub(super) fn find(&self, names: &[&[u8]]) -> io::Result<Option<(OwnedFd, Stat)>> {
        for (_, layer) in &self.layers {
            match look_in(layer.as_fd(), names)? {
                Found::Here(parent, stat) => return Ok(Some((parent, stat))),
                Found::Hidden => return Ok(None),
                Found::NotHere => {}
            }
        }
        Ok(None)
    }
}

/// What one layer says of a path.
enum Found {
    /// The layer has the file, in this open directory.
    Here(OwnedFd, Stat),
    /// The layer hides the path in the layers below.
    Hidden,
    /// The layer does not have the path. The next layer may.
    NotHere,
}

fn look_in(layer: BorrowedFd<'_>, names: &[&[u8]]) -> io::Result<Found> {
    let mut dir = layer.try_clone_to_owned()?;
    let Some((last, above)) = names.split_last() else { return Ok(Found::NotHere) };
    let mut hidden = false;
    for name in above {
        match look(&dir, os(name))? {
            None => return Ok(if hidden { Found::Hidden } else { Found::NotHere }),
            // Below a file, a symbolic link or a whiteout there is nothing.
            Some(stat) if !is_dir(&stat) => return Ok(Found::Hidden),
            Some(_) => dir = exactly(dir.as_fd(), Path::new(os(name)), OFlags::PATH)?,
        }
        hidden |= is_opaque(dir.as_fd())?;
    }
    Ok(match look(&dir, os(last))? {
        Some(stat) if is_whiteout(&stat) => Found::Hidden,
        Some(stat) => Found::Here(dir, stat),
        None if hidden => Found::Hidden,
        None => Found::NotHere,
    })
}
