//! What a layer hides of the layers below it: whiteouts and opaque directories (image-spec, layer.md, "Whiteouts").

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use sharedroot_format::base::FIXED_TIME;

use super::beneath::{self, OPAQUE, clean, os};
use super::metadata::timestamps;
use super::tar_stream::Entry;
use super::tar_stream::Time;
use super::unpack_error::{UnpackError, failed};
use super::unpacker::Unpacker;

impl Unpacker<'_> {
    /// Hides a name of the lower layers. What this layer itself has under the name stays. The directories on the way are made as
    /// for any other entry, also if there is nothing to hide, because engines make them.
    pub(super) fn whiteout(
        &mut self,
        entry: &Entry,
        above: &[&[u8]],
        name: &[u8],
    ) -> Result<(), UnpackError> {
        let dir = self.parent(entry, above)?;
        // The way to it may be a link of this layer. The lower layers have the name at the place to which the link leads.
        let place = self.place(entry, dir.as_fd())?;
        let above = clean(place.as_os_str().as_bytes());
        let names: Vec<&[u8]> = above.iter().copied().chain([name]).collect();
        let below =
            self.lower.find(&names).map_err(failed(entry, "look for the name that it hides"))?;
        if below.is_none()
            || self.hides_lower(&above).map_err(failed(entry, "look for the name that it hides"))?
        {
            return Ok(());
        }
        match beneath::look(&dir, os(name))
            .map_err(failed(entry, "look at the file that it hides"))?
        {
            None => {
                let mode = Mode::empty();
                rustix::fs::mknodat(&dir, os(name), FileType::CharacterDevice, mode, 0)
                    .map_err(failed(entry, "make the whiteout"))?;
                self.set_times_to_fixed(&dir, os(name)).map_err(failed(entry, "set its time"))
            }
            Some(stat) if beneath::is_dir(&stat) => self.mark_opaque(entry, &names),
            Some(_) => Ok(()),
        }
    }

    /// Hides everything that the lower layers have in a directory (`.wh..wh..opq`). A directory in an opaque one hides it
    /// already, and nothing in it is a whiteout, so it costs no walk.
    pub(super) fn mark_opaque(
        &mut self,
        entry: &Entry,
        names: &[&[u8]],
    ) -> Result<(), UnpackError> {
        if names.is_empty() {
            // The root of an overlay cannot be opaque, so the lower layers are left out of the overlay. This is then the lowest
            // layer, in which a whiteout hides nothing. Without lower layers there is no whiteout.
            if self.lower.is_empty() {
                return Ok(());
            }
            self.lower.clear();
            return super::opaque::remove_whiteouts(self.root.as_fd())
                .and_then(|looked_at| self.lower.looks.take(looked_at))
                .map_err(failed(entry, "remove whiteouts that hide nothing"));
        }
        let dir = self.parent(entry, names)?;
        // The way to it may be a link of this layer.
        let place = self.place(entry, dir.as_fd())?;
        let place = clean(place.as_os_str().as_bytes());
        if self.hides_lower(&place).map_err(failed(entry, "look at the directories above it"))? {
            return Ok(());
        }
        self.make_opaque(entry, dir.as_fd())
    }

    /// Makes an open directory opaque.
    pub(super) fn make_opaque(
        &mut self,
        entry: &Entry,
        dir: BorrowedFd<'_>,
    ) -> Result<(), UnpackError> {
        // Nothing that hides is made in an opaque directory, so a layer that says it again costs no walk.
        if beneath::is_opaque(dir).map_err(failed(entry, "read the marks of the directory"))? {
            return Ok(());
        }
        let path = beneath::by_descriptor(dir, OsStr::new("."));
        rustix::fs::setxattr(&path, OPAQUE, b"y", XattrFlags::empty())
            .map_err(failed(entry, "mark the directory opaque"))?;
        // In an opaque directory overlay shows whiteouts as character devices.
        super::opaque::remove_whiteouts(dir)
            .and_then(|looked_at| self.lower.looks.take(looked_at))
            .map_err(failed(entry, "remove whiteouts that hide nothing"))
    }

    /// Whether this layer hides what the lower layers have at the path `names`.
    pub(super) fn hides_lower(&mut self, names: &[&[u8]]) -> io::Result<bool> {
        let mut dir = self.root.try_clone()?;
        for name in names {
            self.lower.looks.take(1)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            match beneath::exactly(dir.as_fd(), Path::new(os(name)), flags) {
                Ok(below) if beneath::is_opaque(below.as_fd())? => return Ok(true),
                Ok(below) => dir = below,
                Err(Errno::NOENT) => return Ok(false),
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(false)
    }

    /// Sets fixed times, which every host can repeat.
    pub(super) fn set_times_to_fixed(&self, dir: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        let times = timestamps(Time { seconds: FIXED_TIME, nanoseconds: 0 });
        rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }
}

#[cfg(test)]
#[path = "whiteout_tests.rs"]
mod tests;
