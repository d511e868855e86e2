//! A hard link of a layer, to a file of this layer or of a lower one.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::beneath::{self, clean, joined, os};
use super::metadata::{apply_metadata, apply_owner};
use super::tar_stream::Entry;
use super::unpack_error::{UnpackError, failed, invalid};
use super::unpacker::{Location, Unpacker};

impl Unpacker<'_> {
    /// Makes a hard link to a file of this layer or, if this layer has no such file, of a lower layer. The file gets the metadata of
    /// the link's entry, as with engines: the last entry of a file wins.
    pub(super) fn hard_link(
        &mut self,
        entry: &Entry,
        place: &Location<'_>,
        target: &[u8],
    ) -> Result<(), UnpackError> {
        let names = clean(target);
        let missing = || {
            let target = PathBuf::from(os(target));
            invalid(entry, format!("is a hard link to {target:?}, which no layer up to here has"))
        };
        let Some((&last, above)) = names.split_last() else { return Err(missing()) };
        if climbs(target) {
            // Docker makes the link by the shortened name, but sets the mode only if the name leads somewhere as it is.
            return Err(invalid(entry, "is a hard link to a name with `..` behind another name"));
        }
        let (way, here) = match self.open_directory(&joined(above)) {
            Ok(dir) => {
                let there =
                    beneath::look(&dir, os(last)).map_err(failed(entry, "look at its target"))?;
                (self.place(entry, dir.as_fd())?, there.map(|stat| (dir, stat)))
            }
            Err(error) if is_missing(&error) => (joined(above), None),
            Err(error) => return Err(failed(entry, "look for its target")(error)),
        };
        // The way may be a link of this layer. The lower layers have the file at the place to which the link leads.
        let above = clean(way.as_os_str().as_bytes());
        let names: Vec<&[u8]> = above.iter().copied().chain([last]).collect();
        let found = match here {
            Some((_, stat)) if beneath::is_whiteout(&stat) => None,
            Some(found) => Some(found),
            None if self.hides_lower(&above).map_err(failed(entry, "look for its target"))? => None,
            None => self.lower.find(&names).map_err(failed(entry, "look for its target"))?,
        };
        let (dir, stat) = found.ok_or_else(missing)?;
        if beneath::is_dir(&stat) {
            return Err(invalid(entry, "is a hard link to a directory"));
        }
        let there = beneath::look(&place.dir, place.name)
            .map_err(failed(entry, "look at the file that has its name"))?;
        let is_there = there.is_some_and(|it| (it.st_dev, it.st_ino) == (stat.st_dev, stat.st_ino));
        if !is_there {
            if there.is_some() {
                self.remove_existing(entry, place)?;
            }
            rustix::fs::linkat(&dir, os(last), &place.dir, place.name, AtFlags::empty())
                .map_err(failed(entry, "make the hard link"))?;
        }
        // Docker sets neither the mode nor the time of a symbolic link by way of a hard link.
        match FileType::from_raw_mode(stat.st_mode).is_symlink() {
            true => apply_owner(entry, &place.dir, place.name),
            false => apply_metadata(entry, &place.dir, place.name),
        }
    }
}

/// Whether a name has `..` behind another name.
fn climbs(target: &[u8]) -> bool {
    let names = target.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    names.skip_while(|name| *name == b"..").any(|name| name == b"..")
}

/// Whether the error says that a path of the layer leads to no directory.
fn is_missing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

#[cfg(test)]
#[path = "hard_link_tests.rs"]
mod tests;
