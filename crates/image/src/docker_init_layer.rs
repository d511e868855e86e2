//! Docker's init layer in the overlay of a container (see `init_layer`). Docker makes a new one for each container, and a base
//! has the same files in any case, so this layer is no part of an image.
//!
//! A layer of an image must never pass for Docker's: a base would lack what the layer shows or hides, and engines and scanners
//! would see another tree than the containers on the base. So a layer is Docker's only if the layers below it, with the files
//! that [`super::init_layer::make`] makes, are the same tree as with the layer.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Stat};
use sharedroot_sys::by_descriptor::by_descriptor;
use sharedroot_sys::xattr::Of;

use super::import::LowerLayers;
use super::init_layer::{AS_DOCKER, InitFile, open_directory};
use super::top::ROOT_MODE;
use super::walk::attributes_of;

/// What the names of overlay's own attributes begin with.
const OVERLAYS: &[u8] = b"trusted.overlay.";
/// Overlay's notes about where a directory comes from. They change nothing of what overlay shows.
const NOTES: [&[u8]; 2] = [b"origin", b"impure"];

/// Whether the directory of a container's rootfs is one of Docker's with containerd's image store:
/// `<docker-root>/rootfs/<snapshotter>/<container>` (moby: daemon/snapshotter/mount.go). No other engine has an init layer.
pub(super) fn is_rootfs_of_docker(root_path: &Path) -> bool {
    root_path.iter().nth_back(2) == Some(OsStr::new("rootfs"))
}

/// Whether `layer` is Docker's init layer above the layers `below`, which are topmost first.
pub(super) fn is_docker_init_layer(layer: &Path, below: &[PathBuf]) -> io::Result<bool> {
    let layer = open_directory(CWD, layer)?;
    // Docker always makes this file. Its owner is the root user of the store.
    let Some(stat) = look(&layer, ".dockerenv")? else { return Ok(false) };
    let mut lower = LowerLayers::default();
    for path in below.iter().rev() {
        lower.push(path.clone(), open_directory(CWD, path)?);
    }
    let owner = (stat.st_uid, stat.st_gid);
    Comparison { owner, lower }.is_as_made(Some(&layer), &[], AS_DOCKER)
}

/// The comparison of a layer with the init files.
struct Comparison {
    owner: (u32, u32),
    lower: LowerLayers,
}

/// A file of the layer.
struct InLayer<'a> {
    dir: &'a OwnedFd,
    name: &'static str,
    stat: Stat,
}

impl Comparison {
    /// Whether the layer and the layers below it show, in the directory at the path `way`, what Docker makes there: `entries`.
    /// `dir` is the layer's part of the directory, if the layer has one.
    fn is_as_made(
        &mut self,
        dir: Option<&OwnedFd>,
        way: &[&[u8]],
        entries: &'static [InitFile],
    ) -> io::Result<bool> {
        if let Some(dir) = dir
            && !has_only(dir.as_fd(), entries)?
        {
            return Ok(false);
        }
        for entry in entries {
            if !self.entry(dir, &[way, &[entry.name().as_bytes()]].concat(), entry)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn entry(
        &mut self,
        dir: Option<&OwnedFd>,
        path: &[&[u8]],
        entry: &'static InitFile,
    ) -> io::Result<bool> {
        let name = entry.name();
        let below = self.lower.find(path)?.filter(|(_, stat)| kind(stat).is_dir());
        let found = dir.map(|dir| look(dir, name)).transpose()?.flatten();
        let Some((dir, stat)) = dir.zip(found) else {
            // Docker keeps a directory, also in the place of a file. It makes everything else.
            return match entry {
                InitFile::Dir(_, entries) if below.is_some() => {
                    self.is_as_made(None, path, entries)
                }
                _ => Ok(below.is_some()),
            };
        };
        let file = InLayer { dir, name, stat };
        match entry {
            InitFile::Dir(_, entries) => {
                if !kind(&file.stat).is_dir() {
                    return Ok(false);
                }
                let opened = open_directory(dir.as_fd(), name)?;
                let adds_nothing = match below {
                    Some((below, stat)) => file.is_copy_of(&below, &stat)?,
                    None => file.is_new(self.owner, &[b"opaque"])? && file.mode() == ROOT_MODE,
                };
                Ok(adds_nothing && self.is_as_made(Some(&opened), path, entries)?)
            }
            InitFile::File(_) => Ok(below.is_none()
                && kind(&file.stat).is_file()
                && file.stat.st_size == 0
                && file.mode() == ROOT_MODE
                && file.is_new(self.owner, &[])?),
            InitFile::Link(_, target) => Ok(below.is_none()
                && kind(&file.stat).is_symlink()
                && file.is_new(self.owner, &[])?
                && rustix::fs::readlinkat(dir, name, Vec::new())?.as_bytes() == target.as_bytes()),
        }
    }
}

impl InLayer<'_> {
    fn place(&self) -> PathBuf {
        by_descriptor(self.dir).join(self.name)
    }

    fn mode(&self) -> u32 {
        self.stat.st_mode & 0o7777
    }

    /// Whether Docker has made the file: the store's root user owns it, and it has no attributes but overlay's `notes`.
    fn is_new(&self, owner: (u32, u32), notes: &[&[u8]]) -> io::Result<bool> {
        Ok((self.stat.st_uid, self.stat.st_gid) == owner
            && attributes_of(Of::Link(&self.place()))?.is_empty()
            && self.has_only_notes(notes)?)
    }

    /// Whether overlay has copied the directory from the layer below, so that Docker could make a file in it: mode, owner and
    /// attributes are the same, and the layers below show through.
    fn is_copy_of(&self, dir: &OwnedFd, stat: &Stat) -> io::Result<bool> {
        let same = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid);
        let below = by_descriptor(dir).join(self.name);
        Ok(same(stat) == same(&self.stat)
            && attributes_of(Of::Link(&self.place()))? == attributes_of(Of::Link(&below))?
            && self.has_only_notes(&NOTES)?)
    }

    /// Whether the file has no attribute of overlay's but `notes`. The others are commands: overlay would show other files.
    fn has_only_notes(&self, notes: &[&[u8]]) -> io::Result<bool> {
        let names = Of::Link(&self.place()).names()?;
        let mut overlays = names.iter().filter_map(|name| name.to_bytes().strip_prefix(OVERLAYS));
        Ok(overlays.all(|name| notes.contains(&name)))
    }
}

/// Whether a directory has no names but those of `entries`.
fn has_only(dir: BorrowedFd<'_>, entries: &[InitFile]) -> io::Result<bool> {
    for found in Dir::read_from(dir)? {
        let found = found?;
        let name = found.file_name().to_bytes();
        let is_one = |entry: &InitFile| entry.name().as_bytes() == name;
        if name != b"." && name != b".." && !entries.iter().any(is_one) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The file that a directory has under a name; a symbolic link is not followed.
fn look(dir: &OwnedFd, name: &str) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(rustix::io::Errno::NOENT) => Ok(None),
        found => Ok(Some(found?)),
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
#[path = "docker_init_layer_tests.rs"]
mod tests;
