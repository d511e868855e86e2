//! A hard link of a layer, to a file of this layer or of a lower one.

use std::io;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::beneath::{self, clean, joined, os};
use super::tar_stream::Entry;
use super::unpack_error::{UnpackError, failed, invalid};
use super::unpacker::{Location, Unpacker};

impl Unpacker<'_> {
    /// Makes a hard link to a file of this layer or, if this layer has no such file, of a lower layer.
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
        let here = match self.open_directory(&joined(above)) {
            Ok(dir) => beneath::look(&dir, os(last))
                .map_err(failed(entry, "look at its target"))?
                .map(|stat| (dir, stat)),
            Err(error) if is_missing(&error) => None,
            Err(error) => return Err(failed(entry, "look for its target")(error)),
        };
        let found = match here {
            Some((_, stat)) if beneath::is_whiteout(&stat) => None,
            Some(found) => Some(found),
            None if self.hides_lower(above).map_err(failed(entry, "look for its target"))? => None,
            None => self.lower.find(&names).map_err(failed(entry, "look for its target"))?,
        };
        let (dir, stat) = found.ok_or_else(missing)?;
        if beneath::is_dir(&stat) {
            return Err(invalid(entry, "is a hard link to a directory"));
        }
        let there = beneath::look(&place.dir, place.name)
            .map_err(failed(entry, "look at the file that has its name"))?;
        match there {
            Some(there) if (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino) => Ok(()),
            there => {
                if there.is_some() {
                    self.remove_existing(entry, place)?;
                }
                rustix::fs::linkat(&dir, os(last), &place.dir, place.name, AtFlags::empty())
                    .map_err(failed(entry, "make the hard link"))
            }
        }
    }
}

/// Whether the error says that a path of the layer leads to no directory.
fn is_missing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}
