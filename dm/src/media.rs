//! The two files or devices that a pool lies on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{major, minor};
use nix::sys::statvfs::statvfs;

use crate::config::{Backing, PoolConfig};
use crate::error::Error;
use crate::kernel::DevNumber;
use crate::loopback::{self, Attached};
use crate::signature;
use crate::units::{Bytes, Percent};

/// Below this a loop file is not worth a pool, unless less was asked for.
const LEAST: Bytes = Bytes::gib(1);
/// `THIN_METADATA_BLOCK_SIZE`: dm-thin formats the metadata if and only if its first block is zero.
const SUPERBLOCK: usize = 4096;

/// Where a pool's data and metadata lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Media {
    pub(crate) on_loop: bool,
    pub(crate) data: PathBuf,
    pub(crate) metadata: PathBuf,
}

/// The block devices of a pool, loop devices attached. Dropping it detaches what was attached here.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) data: DevNumber,
    pub(crate) data_size: Bytes,
    pub(crate) metadata: DevNumber,
    loops: Vec<Attached>,
}

impl Connected {
    /// Leaves the loop devices attached.
    pub(crate) fn keep(self) {
        self.loops.into_iter().for_each(Attached::keep);
    }
}

impl Media {
    /// Where a new pool will lie.
    pub(crate) fn plan(config: &PoolConfig) -> Self {
        match &config.backing {
            Backing::Loop { .. } => Self {
                on_loop: true,
                data: config.state_dir.join(format!("{}.data", config.name)),
                metadata: config.state_dir.join(format!("{}.metadata", config.name)),
            },
            Backing::Devices { data, metadata } => {
                Self { on_loop: false, data: data.clone(), metadata: metadata.clone() }
            }
        }
    }

    /// Refuses what must not be overwritten. Changes nothing.
    pub(crate) fn check_unused(&self) -> Result<(), Error> {
        for path in [&self.data, &self.metadata] {
            if self.on_loop {
                if path.exists() {
                    return Err(Error::FileWithoutPool { path: path.clone() });
                }
                continue;
            }
            let mut head = Vec::new();
            let device = open_unclaimed(path)?;
            device
                .take(signature::LOOK as u64)
                .read_to_end(&mut head)
                .map_err(media("read", path))?;
            if let Some(found) = signature::found(&head) {
                return Err(Error::Signature { path: path.clone(), found });
            }
        }
        Ok(())
    }

    /// Makes the files, or prepares the devices. The caller undoes it with [`Media::unmake`] if a later step fails.
    pub(crate) fn make(&self, backing: &Backing) -> Result<(), Error> {
        if let Backing::Loop { data, metadata } = backing {
            let size = bounded(&self.data, *data)?;
            make_sparse(&self.data, size)?;
            make_sparse(&self.metadata, *metadata)?;
        }
        self.clear_superblock()
    }

    /// Takes back what [`Media::make`] did, as far as it came.
    pub(crate) fn unmake(&self) -> Result<(), Error> {
        if !self.on_loop {
            // After a crash long ago something else may lie there by now.
            let mut head = [0; SUPERBLOCK];
            open_unclaimed(&self.metadata)?
                .read_exact(&mut head)
                .map_err(media("read", &self.metadata))?;
            return if signature::is_thin_metadata(&head) {
                self.clear_superblock()
            } else {
                Ok(())
            };
        }
        for path in [&self.data, &self.metadata] {
            match path.try_exists().map_err(media("look for", path))? {
                true => loopback::detach(path)?,
                false => continue,
            }
            fs::remove_file(path).map_err(media("remove", path))?;
        }
        Ok(())
    }

    fn clear_superblock(&self) -> Result<(), Error> {
        let path = &self.metadata;
        let mut file = OpenOptions::new().write(true).open(path).map_err(media("open", path))?;
        file.write_all(&[0; SUPERBLOCK])
            .and_then(|()| file.sync_all())
            .map_err(media("clear the start of", path))
    }

    /// Attaches the loop files and measures the devices. `formatted`: the pool was in use before, so its metadata must be
    /// there; dm-thin would take a zeroed device for a new pool and forget every volume.
    pub(crate) fn connect(&self, formatted: bool) -> Result<Connected, Error> {
        if formatted {
            let mut head = [0; SUPERBLOCK];
            let mut file = File::open(&self.metadata).map_err(media("open", &self.metadata))?;
            file.read_exact(&mut head).map_err(media("read", &self.metadata))?;
            if !signature::is_thin_metadata(&head) {
                return Err(Error::NotMetadata { path: self.metadata.clone() });
            }
        }
        let mut loops = Vec::new();
        let mut node = |path: &PathBuf| {
            if !self.on_loop {
                return Ok(path.clone());
            }
            let attached = loopback::attach(path)?;
            let node = attached.node.clone();
            loops.push(attached);
            Ok::<_, Error>(node)
        };
        let (data, metadata) = (node(&self.data)?, node(&self.metadata)?);
        let (metadata, _) = measure(&metadata)?;
        let (data, data_size) = measure(&data)?;
        Ok(Connected { data, data_size, metadata, loops })
    }

    /// Detaches the loop files.
    pub(crate) fn disconnect(&self) -> Result<(), Error> {
        if !self.on_loop {
            return Ok(());
        }
        loopback::detach(&self.data).and(loopback::detach(&self.metadata))
    }
}

fn media(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Media { action, path, source }
}

/// Opens a block device that nobody has claimed: the kernel refuses O_EXCL for one that is mounted or part of another.
fn open_unclaimed(path: &Path) -> Result<File, Error> {
    let found = fs::metadata(path).map_err(media("look at", path))?;
    if !found.file_type().is_block_device() {
        return Err(Error::NotBlock { path: path.to_owned() });
    }
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_EXCL).open(path).map_err(
        |source| match source.raw_os_error() == Some(Errno::EBUSY as i32) {
            true => Error::InUse { path: path.to_owned(), source },
            false => Error::Media { action: "open", path: path.to_owned(), source },
        },
    )
}

/// What may be taken of `wanted` without promising more than 80 % of what is free.
fn bounded(file: &Path, wanted: Bytes) -> Result<Bytes, Error> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    let system =
        statvfs(dir).map_err(|errno| media("measure the file system of", dir)(errno.into()))?;
    let free = Bytes(system.blocks_available().saturating_mul(system.fragment_size()));
    let room =
        Bytes(Percent::new(80).expect("80 is a percentage").of(free.0)).round_down(Bytes::mib(1));
    let least = LEAST.min(wanted);
    if room < least {
        return Err(Error::NoRoom { path: dir.to_owned(), free, least });
    }
    if room < wanted {
        tracing::warn!(file = %file.display(), %wanted, taken = %room, "the file system has no room for more");
    }
    Ok(room.min(wanted))
}

fn make_sparse(path: &Path, size: Bytes) -> Result<(), Error> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(media("create", path))?;
    file.set_len(size.0).and_then(|()| file.sync_all()).map_err(media("size", path))
}

fn measure(node: &Path) -> Result<(DevNumber, Bytes), Error> {
    let mut device = File::open(node).map_err(media("open", node))?;
    let found = device.metadata().map_err(media("look at", node))?;
    if !found.file_type().is_block_device() {
        return Err(Error::NotBlock { path: node.to_owned() });
    }
    let number = DevNumber { major: major(found.rdev()) as u32, minor: minor(found.rdev()) as u32 };
    let size = device.seek(SeekFrom::End(0)).map_err(media("measure", node))?;
    Ok((number, Bytes(size)))
}
