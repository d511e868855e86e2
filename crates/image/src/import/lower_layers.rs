//! The layers below the one that is unpacked, as overlay will show them.
//!
//! A layer can have a whiteout at the end of 500 directories that each of 126 layers below has. So a directory is looked up in
//! all layers at once and is kept for the next name, and the looks into all layers of an image have a bound.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, Stat};
use rustix::io::Errno;

use super::allowance::Allowance;
use super::beneath::{exactly, is_opaque, is_whiteout, look, os};
use super::looks::{Looks, MOST_LOOKS};

/// The layers below the one that is unpacked.
#[derive(Debug)]
pub(crate) struct LowerLayers {
    /// The path and the open directory of each layer, topmost first.
    layers: Vec<(PathBuf, OwnedFd)>,
    /// The directory that was looked up last, and the names that lead to it.
    last: Option<(Vec<Vec<u8>>, Merged)>,
    /// How often they and the layer that is unpacked may be looked into.
    pub(super) looks: Looks,
    /// How many files all layers may still make.
    pub(super) allowance: Allowance,
}

/// A directory as overlay merges it: the open directory of each layer that has a part in it, topmost first.
#[derive(Debug)]
struct Merged(Vec<OwnedFd>);

impl Default for LowerLayers {
    fn default() -> Self {
        Self::bounded(MOST_LOOKS)
    }
}

impl LowerLayers {
    pub(super) fn bounded(most: u64) -> Self {
        Self {
            layers: Vec::new(),
            last: None,
            looks: Looks::bounded(most),
            allowance: Allowance::default(),
        }
    }

    /// None yet, of an image whose files have at most `most` bytes together.
    pub(super) fn of_bytes(most: u64) -> Self {
        Self { allowance: Allowance::of_bytes(most), ..Self::default() }
    }

    /// Puts a finished layer on top.
    pub(crate) fn push(&mut self, path: PathBuf, layer: OwnedFd) {
        self.last = None;
        self.layers.insert(0, (path, layer));
    }

    /// The directories of the layers, topmost first.
    pub(super) fn into_paths(self) -> Vec<PathBuf> {
        self.layers.into_iter().map(|(path, _)| path).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Hides all of them: the next layer is opaque at its root.
    pub(super) fn clear(&mut self) {
        self.last = None;
        self.layers.clear();
    }

    /// The file that overlay shows at the path `names` of the lower layers, and its open directory. A symbolic link on the way
    /// is not followed: there is nothing below it.
    pub(crate) fn find(&mut self, names: &[&[u8]]) -> io::Result<Option<(OwnedFd, Stat)>> {
        let Some((name, above)) = names.split_last() else { return Ok(None) };
        self.go_to(above)?;
        let Some((_, dir)) = &self.last else { return Ok(None) };
        for part in &dir.0 {
            self.looks.take(1)?;
            match look(part, os(name))? {
                None => {}
                Some(stat) if is_whiteout(&stat) => return Ok(None),
                Some(stat) => return Ok(Some((part.try_clone()?, stat))),
            }
        }
        Ok(None)
    }

    /// Makes the directory at the path `names` the last one: from the one that was the last, if that is on the way.
    fn go_to(&mut self, names: &[&[u8]]) -> io::Result<()> {
        let on_the_way = |(way, _): &(Vec<Vec<u8>>, Merged)| {
            way.len() <= names.len() && way.iter().zip(names).all(|(a, b)| a == b)
        };
        let (mut way, mut dir) = match self.last.take().filter(on_the_way) {
            Some(last) => last,
            None => (Vec::new(), self.top()?),
        };
        for name in &names[way.len()..] {
            dir = self.down(&dir, name)?;
            way.push(name.to_vec());
            if dir.0.is_empty() {
                break; // nothing is below it, whatever the rest of the path says
            }
        }
        self.last = Some((way, dir));
        Ok(())
    }

    fn top(&mut self) -> io::Result<Merged> {
        self.looks.take(self.layers.len() as u64)?;
        self.layers
            .iter()
            .map(|(_, layer)| layer.try_clone())
            .collect::<io::Result<_>>()
            .map(Merged)
    }

    fn down(&mut self, dir: &Merged, name: &[u8]) -> io::Result<Merged> {
        let mut parts = Vec::new();
        for part in &dir.0 {
            self.looks.take(1)?;
            match exactly(part.as_fd(), Path::new(os(name)), OFlags::PATH | OFlags::DIRECTORY) {
                Err(Errno::NOENT) => {}
                // Below a file, a symbolic link or a whiteout there is nothing.
                Err(Errno::NOTDIR | Errno::LOOP) => break,
                Err(errno) => return Err(errno.into()),
                Ok(below) => {
                    let hides = is_opaque(below.as_fd())?;
                    parts.push(below);
                    if hides {
                        break;
                    }
                }
            }
        }
        Ok(Merged(parts))
    }
}
