//! A regular file of a layer: its content, with holes, and its metadata.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags, XattrFlags};

use super::beneath::os;
use super::metadata::{attributes, mtime, owner, timestamps};
use super::tar_stream::{Archive, Entry, Extent};
use super::unpack_error::{UnpackError, failed, invalid};
use super::unpacker::{Location, Unpacker};

/// The unit of holes, in bytes.
const BLOCK: usize = 4096;

impl Unpacker<'_> {
    /// Makes a regular file with its content and metadata.
    pub(super) fn regular_file<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        entry: &Entry,
        place: &Location<'_>,
    ) -> Result<(), UnpackError> {
        self.lower.allowance.add_file(entry)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
        let file = self.create(entry, place, "make the file", |place| {
            let mode = Mode::from_raw_mode(0o600);
            rustix::fs::openat(&place.dir, place.name, flags | OFlags::CLOEXEC, mode)
        })?;
        let file = File::from(file);
        let whole = [Extent { offset: 0, length: entry.size }];
        for extent in entry.extents.as_deref().unwrap_or(&whole) {
            self.fill(archive, entry, &file, *extent)?;
        }
        // A file that ends in a hole is too short still.
        file.set_len(entry.size).map_err(failed(entry, "set its length"))?;
        let (uid, gid) = owner(entry);
        rustix::fs::fchown(&file, uid, gid).map_err(failed(entry, "set its owner"))?;
        for (name, value) in attributes(entry) {
            rustix::fs::fsetxattr(&file, os(name), value, XattrFlags::empty())
                .map_err(failed(entry, "set an extended attribute"))?;
        }
        // As with engines, the mode cuts the rights that an ACL gives.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(entry.mode))
            .map_err(failed(entry, "set its mode"))?;
        rustix::fs::futimens(&file, &timestamps(mtime(entry)))
            .map_err(failed(entry, "set its time"))
    }

    /// Writes an extent of a file. Blocks of zeros become holes: a tar that was made without `--sparse` has lost the holes.
    fn fill<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        entry: &Entry,
        file: &File,
        extent: Extent,
    ) -> Result<(), UnpackError> {
        const ZEROS: [u8; BLOCK] = [0; BLOCK];
        let mut offset = extent.offset;
        let end = offset.saturating_add(extent.length);
        while offset < end {
            let most = usize::try_from(end - offset).unwrap_or(usize::MAX).min(self.buffer.len());
            let n = archive.read(&mut self.buffer[..most])?;
            if n == 0 {
                return Err(invalid(entry, "has less content than it says"));
            }
            // An extent of a sparse file need not begin or end where a block does.
            self.check_space(entry, (n as u64).saturating_add(2 * BLOCK as u64))?;
            let mut begin = 0;
            let mut done = 0;
            for block in self.buffer[..n].chunks(BLOCK) {
                if block == &ZEROS[..block.len()] {
                    write(file, &self.buffer[begin..done], offset + begin as u64)
                        .map_err(failed(entry, "write its content"))?;
                    begin = done + block.len();
                }
                done += block.len();
            }
            write(file, &self.buffer[begin..n], offset + begin as u64)
                .map_err(failed(entry, "write its content"))?;
            offset += n as u64;
        }
        Ok(())
    }
}

fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    if bytes.is_empty() { Ok(()) } else { file.write_all_at(bytes, offset) }
}
