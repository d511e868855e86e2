//! Loop files: made, made larger, and how large they may become.

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

/// Below this a loop file is not worth a pool, unless less was asked for.
const LEAST: Bytes = Bytes::gib(1);

impl PoolBacking {
    /// Makes loop files longer, and what the kernel knows of them. A file that is long enough stays as it is.
    pub(crate) fn extend(&self, sizes: Sizes) -> Result<(), Error> {
        for (path, size) in [(&self.data, sizes.data), (&self.metadata, sizes.metadata)] {
            let file =
                OpenOptions::new().write(true).open(path).map_err(Error::backing("open", path))?;
            let length = file.metadata().map_err(Error::backing("look at", path))?.len();
            if length < size.0 {
                if *path == self.metadata
                    && let Err(error) = allocate(&file, size, path)
                {
                    // What it got before the file system was full.
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

    /// The most that the data file and the metadata file may have: what each has already and what is free, less a fifth.
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

/// Gives the metadata its room for good: a commit that finds the host's file system full would stop the pool.
pub(super) fn allocate(file: &File, size: Bytes, path: &Path) -> Result<(), Error> {
    match fallocate(file, FallocateFlags::empty(), 0, size.0 as i64) {
        // The file system cannot; the file stays sparse.
        Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(()),
        Err(errno) => Err(Error::backing("allocate", path)(errno.into())),
    }
}

/// What may be taken of `wanted` without promising more than 80 % of what is free.
pub(super) fn bounded(file: &Path, wanted: Bytes) -> Result<Bytes, Error> {
    let free = free(file)?;
    let room = four_fifths(free);
    let least = LEAST.min(wanted);
    if room < least {
        let path = file.parent().unwrap_or(Path::new("/")).to_owned();
        return Err(Error::NoRoom { path, free, least });
    }
    if room < wanted {
        tracing::warn!(file = %file.display(), %wanted, taken = %room, "the file system has no room for more");
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
