//! Loop files: created, extended, and how large they may become.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;

use super::{PoolBacking, Sizes, loopback};
use crate::error::Error;
use crate::failpoint::step;
use crate::units::{Bytes, Percent};

/// The smallest data file of a new pool, unless the configuration asks for less.
const LEAST: Bytes = Bytes::gib(1);

impl PoolBacking {
    /// Extends the loop files, and tells the kernel the new sizes. A file that is long enough is not changed.
    pub(crate) fn extend(&self, sizes: Sizes) -> Result<(), Error> {
        for (path, size) in [(&self.data, sizes.data), (&self.metadata, sizes.metadata)] {
            let file =
                OpenOptions::new().write(true).open(path).map_err(Error::backing("open", path))?;
            let length = file.metadata().map_err(Error::backing("look at", path))?.len();
            if length < size.0 {
                if *path == self.metadata
                    && let Err(error) = allocate(&file, size, path)
                {
                    // Gives back the blocks that the file got before the file system was full.
                    let _ = file.set_len(length);
                    return Err(error);
                }
                file.set_len(size.0)
                    .and_then(|()| file.sync_all())
                    .map_err(Error::backing("extend", path))?;
                step("file extended");
            }
            loopback::measure_again(path)?;
            step("loop device extended");
        }
        Ok(())
    }

    /// The largest sizes that the data file and the metadata file may have: 80 % of the blocks that the file has and those that
    /// are free.
    pub(crate) fn room(&self) -> Result<Sizes, Error> {
        let room = |path: &Path| {
            let taken = fs::metadata(path).map_err(Error::backing("look at", path))?.blocks() * 512;
            Ok(four_fifths(Bytes(free(path)?.0.saturating_add(taken))))
        };
        Ok(Sizes { data: room(&self.data)?, metadata: room(&self.metadata)? })
    }
}

pub(super) fn make_file(path: &Path, size: Bytes) -> Result<File, Error> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::backing("create", path))?;
    file.set_len(size.0).and_then(|()| file.sync_all()).map_err(Error::backing("size", path))?;
    Ok(file)
}

/// Allocates the blocks of the metadata file. A metadata commit that finds the host's file system full would stop the pool.
pub(super) fn allocate(file: &File, size: Bytes, path: &Path) -> Result<(), Error> {
    match fallocate(file, FallocateFlags::empty(), 0, size.0 as i64) {
        // The file system cannot allocate blocks ahead, so the file stays sparse.
        Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(()),
        Err(errno) => Err(Error::backing("allocate", path)(errno.into())),
    }
}

/// The size of a new data file: `wanted`, or 80 % of the free space if that is less.
pub(super) fn bounded(file: &Path, wanted: Bytes) -> Result<Bytes, Error> {
    let free = free(file)?;
    let room = four_fifths(free);
    let least = LEAST.min(wanted);
    if room < least {
        let path = file.parent().unwrap_or(Path::new("/")).to_owned();
        return Err(Error::NoRoom { path, free, least });
    }
    if room < wanted {
        tracing::warn!(file = %file.display(), %wanted, taken = %room, "the loop file gets less than the configuration asks for: the file system has no room for more");
    }
    Ok(room.min(wanted))
}

fn free(file: &Path) -> Result<Bytes, Error> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    let system = statvfs(dir)
        .map_err(|errno| Error::backing("measure the file system of", dir)(errno.into()))?;
    Ok(Bytes(system.blocks_available().saturating_mul(system.fragment_size())))
}

fn four_fifths(size: Bytes) -> Bytes {
    Bytes(Percent::new(80).expect("80 is a percentage").of(size.0)).round_down(Bytes::mib(1))
}
