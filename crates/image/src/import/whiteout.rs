//! What a layer hides of the layers below it: whiteouts, and directories that are opaque.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use sharedroot_format::base::FIXED_TIME;

use super::archive::Entry;
use super::beneath::{self, OPAQUE, joined, os};
use super::metadata::timestamps;
use super::pax::Time;
use super::unpack::Unpacker;
use super::unpack_error::{UnpackError, failed};

impl Unpacker<'_> {
    /// A name of the layers below that is gone. What this layer itself has under it stays (image-spec, layer.md, "Whiteouts").
    pub(super) fn whiteout(
        &mut self,
        entry: &Entry,
        above: &[&[u8]],
        name: &[u8],
    ) -> Result<(), UnpackError> {
        let names: Vec<&[u8]> = above.iter().copied().chain([name]).collect();
        let below = self.below.find(&names).map_err(failed(entry, "look for what it hides"))?;
        if below.is_none()
            || self.hides_lower(above).map_err(failed(entry, "look for what it hides"))?
        {
            return Ok(());
        }
        let dir = self.parent(entry, above)?;
        match beneath::look(&dir, os(name)).map_err(failed(entry, "look at what it hides"))? {
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

    /// `.wh..wh..opq`: nothing that the layers below have in the directory is to be seen.
    pub(super) fn mark_opaque(
        &mut self,
        entry: &Entry,
        names: &[&[u8]],
    ) -> Result<(), UnpackError> {
        if names.is_empty() {
            // overlay has no opaque root: then the layers below are left out.
            self.below.clear();
            return Ok(());
        }
        let dir = self.parent(entry, names)?;
        self.make_opaque(entry, dir.as_fd())
    }

    pub(super) fn make_opaque(
        &mut self,
        entry: &Entry,
        dir: BorrowedFd<'_>,
    ) -> Result<(), UnpackError> {
        let path = beneath::by_descriptor(dir, OsStr::new("."));
        rustix::fs::setxattr(&path, OPAQUE, b"y", XattrFlags::empty())
            .map_err(failed(entry, "mark the directory opaque"))?;
        // overlay shows the whiteouts of a directory that hides what is below it as the devices that they are.
        super::opaque::remove_whiteouts(dir)
            .map_err(failed(entry, "remove whiteouts that hide nothing"))
    }

    /// Whether this layer itself hides what the layers below have at `names`.
    pub(super) fn hides_lower(&self, names: &[&[u8]]) -> io::Result<bool> {
        for n in 1..=names.len() {
            let path = joined(&names[..n]);
            match beneath::exactly(self.root.as_fd(), &path, OFlags::PATH) {
                Ok(fd) => {
                    let stat = rustix::fs::fstat(&fd)?;
                    if !beneath::is_dir(&stat) || beneath::is_opaque(fd.as_fd())? {
                        return Ok(true);
                    }
                }
                Err(Errno::NOENT) => return Ok(false),
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(true),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(false)
    }

    pub(super) fn set_times_to_fixed(&self, dir: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        let times = timestamps(Time { seconds: FIXED_TIME, nanoseconds: 0 });
        rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }
}
