//! The two files or devices that a pool lies on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;
use nix::sys::stat::{major, minor};
use nix::sys::statvfs::statvfs;

use crate::config::{Backing, PoolConfig};
use crate::error::Error;
use crate::failpoint::step;
use crate::kernel::DevNumber;
use crate::loopback::{self, Attached};
use crate::signature;
use crate::superblock::{self, Superblock};
use crate::units::{Bytes, Percent};

/// Below this a loop file is not worth a pool, unless less was asked for.
const LEAST: Bytes = Bytes::gib(1);

/// What a pool lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BackingKind {
    /// Two sparse files of ours on loop devices.
    Loop,
    /// Two block devices.
    Devices,
    /// A thin pool that LVM activates; data and metadata are its node.
    Lvm,
}

/// Where a pool's data and metadata lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolBacking {
    pub(crate) kind: BackingKind,
    pub(crate) data: PathBuf,
    pub(crate) metadata: PathBuf,
}

/// What a pool uses of its backing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sizes {
    pub(crate) data: Bytes,
    pub(crate) metadata: Bytes,
}

/// The block devices of a pool, loop devices attached. Dropping it detaches what was attached here.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) data: DevNumber,
    pub(crate) metadata: DevNumber,
    loops: Vec<Attached>,
}

impl Connected {
    /// Leaves the loop devices attached.
    pub(crate) fn keep(self) {
        self.loops.into_iter().for_each(Attached::keep);
    }
}

impl PoolBacking {
    /// Where a new pool will lie.
    pub(crate) fn plan(config: &PoolConfig) -> Self {
        let file = |end| config.state_dir.join(format!("{}.{end}", config.name));
        match &config.backing {
            Backing::Loop { .. } => {
                Self { kind: BackingKind::Loop, data: file("data"), metadata: file("metadata") }
            }
            Backing::Devices { data, metadata } => {
                Self { kind: BackingKind::Devices, data: data.clone(), metadata: metadata.clone() }
            }
            Backing::Lvm(pool) => {
                Self { kind: BackingKind::Lvm, data: pool.node(), metadata: pool.node() }
            }
        }
    }

    /// Refuses what must not be overwritten: with `force` only what somebody uses. Changes nothing. The devices stay claimed as
    /// long as the caller has them open.
    pub(crate) fn claim(&self, force: bool) -> Result<Vec<File>, Error> {
        let mut claims = Vec::new();
        for path in [&self.data, &self.metadata] {
            if self.kind == BackingKind::Loop {
                if path.exists() {
                    return Err(Error::FileWithoutPool { path: path.clone() });
                }
                continue;
            }
            // Before the claim, which the second name of the first device could not get.
            if let Some(first) = claims.first().map(File::metadata) {
                let here = fs::metadata(path).map_err(Error::backing("look at", path))?;
                if first.map_err(Error::backing("look at", &self.data))?.rdev() == here.rdev() {
                    return Err(Error::OneDevice { path: path.clone() });
                }
            }
            let mut device = open_unclaimed(path)?;
            if !force
                && let Some(found) = carried(&mut device).map_err(Error::backing("read", path))?
            {
                return Err(Error::Signature { path: path.clone(), found });
            }
            claims.push(device);
        }
        Ok(claims)
    }

    /// Makes the files, or clears the devices' ends. The caller undoes it with [`PoolBacking::unmake`] if a later step fails.
    pub(crate) fn make(
        &self,
        backing: &Backing,
        mut claims: Vec<File>,
        block: Bytes,
    ) -> Result<(), Error> {
        if let Backing::Loop { data, metadata } = backing {
            let size = bounded(&self.data, *data)?.round_down(block).max(block);
            make_file(&self.data, size)?;
            step("data file made");
            allocate(&make_file(&self.metadata, *metadata)?, *metadata, &self.metadata)?;
            step("metadata file made");
            return Ok(());
        }
        // What lay there must not be found again: not by us as metadata, not by a scan as a file system.
        for (device, path) in claims.iter_mut().zip([&self.data, &self.metadata]) {
            clear_ends(device).map_err(Error::backing("clear the ends of", path))?;
        }
        Ok(())
    }

    /// Takes back what [`PoolBacking::make`] did, as far as it came. Devices that carry no metadata of that block size and transaction
    /// are left alone: since a crash long ago something else may lie there by now.
    pub(crate) fn unmake(&self, block: Bytes, transaction: u64) -> Result<(), Error> {
        match self.kind {
            BackingKind::Lvm => return Ok(()),
            BackingKind::Loop => {}
            BackingKind::Devices => {
                let found = match self.superblock() {
                    Err(Error::Backing { source, .. })
                        if source.kind() == io::ErrorKind::NotFound =>
                    {
                        None
                    }
                    found => found?,
                };
                let ours = |found: &Superblock| {
                    found.block == block && found.transaction_id.abs_diff(transaction) <= 1
                };
                if !found.as_ref().is_some_and(ours) {
                    return Ok(());
                }
                // The metadata last: by it the rest is recognised.
                for path in [&self.data, &self.metadata] {
                    let mut device = open_unclaimed(path)?;
                    clear_ends(&mut device).map_err(Error::backing("clear the ends of", path))?;
                    step("device cleared");
                }
                return Ok(());
            }
        }
        for path in [&self.data, &self.metadata] {
            match path.try_exists().map_err(Error::backing("look for", path))? {
                true => loopback::detach(path)?,
                false => continue,
            }
            fs::remove_file(path).map_err(Error::backing("remove", path))?;
            step("file removed");
        }
        Ok(())
    }

    /// What the metadata says of itself; none if it is no thin pool's.
    pub(crate) fn superblock(&self) -> Result<Option<Superblock>, Error> {
        let mut head = Vec::new();
        File::open(&self.metadata)
            .and_then(|file| file.take(superblock::BLOCK.0).read_to_end(&mut head))
            .map_err(Error::backing("read", &self.metadata))?;
        Ok(Superblock::parse(&head))
    }

    /// Attaches the loop files.
    pub(crate) fn connect(&self) -> Result<Connected, Error> {
        let mut loops = Vec::new();
        let mut node = |path: &PathBuf| {
            if self.kind != BackingKind::Loop {
                return Ok(path.clone());
            }
            let attached = loopback::attach(path)?;
            let node = attached.node.clone();
            loops.push(attached);
            step("loop device attached");
            Ok::<_, Error>(node)
        };
        let (data, metadata) = (node(&self.data)?, node(&self.metadata)?);
        let (data, metadata) = (measure(&data)?.0, measure(&metadata)?.0);
        Ok(Connected { data, metadata, loops })
    }

    /// Detaches the loop files.
    pub(crate) fn disconnect(&self) -> Result<(), Error> {
        if self.kind != BackingKind::Loop {
            return Ok(());
        }
        loopback::detach(&self.data).and(loopback::detach(&self.metadata))
    }

    /// The sizes of the files or devices as they are now.
    pub(crate) fn sizes(&self) -> Result<Sizes, Error> {
        let size = |path: &Path| match self.kind {
            BackingKind::Loop => {
                Ok(Bytes(fs::metadata(path).map_err(Error::backing("look at", path))?.len()))
            }
            BackingKind::Devices | BackingKind::Lvm => Ok(measure(path)?.1),
        };
        Ok(Sizes { data: size(&self.data)?, metadata: size(&self.metadata)? })
    }

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

/// Opens a block device that nobody has claimed: the kernel refuses O_EXCL for one that is mounted or part of another.
pub(crate) fn open_unclaimed(path: &Path) -> Result<File, Error> {
    let found = fs::metadata(path).map_err(Error::backing("look at", path))?;
    if !found.file_type().is_block_device() {
        return Err(Error::NotBlock { path: path.to_owned() });
    }
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_EXCL).open(path).map_err(
        |source| match source.raw_os_error() == Some(Errno::EBUSY as i32) {
            true => Error::InUse { path: path.to_owned(), source },
            false => Error::Backing { action: "open", path: path.to_owned(), source },
        },
    )
}

/// What a device carries, if anything: all that is known of begins in the first MiB or ends in the last.
fn carried(device: &mut File) -> io::Result<Option<&'static str>> {
    let mut known = None;
    for (from, length) in ends(device)? {
        let mut part = vec![0; length];
        device.seek(SeekFrom::Start(from))?;
        device.read_exact(&mut part)?;
        if part.iter().any(|byte| *byte != 0) {
            let name = if from == 0 { signature::found(&part) } else { None };
            known = known.or(name).or(Some("something unknown"));
        }
    }
    Ok(known)
}

fn clear_ends(device: &mut File) -> io::Result<()> {
    for (from, length) in ends(device)? {
        device.seek(SeekFrom::Start(from))?;
        device.write_all(&vec![0; length])?;
    }
    device.sync_all()
}

/// Offset and length of a device's first and last MiB.
fn ends(device: &mut File) -> io::Result<[(u64, usize); 2]> {
    let size = device.seek(SeekFrom::End(0))?;
    let length = size.min(signature::LOOK as u64);
    Ok([(0, length as usize), (size - length, length as usize)])
}

/// Gives the metadata its room for good: a commit that finds the host's file system full would stop the pool.
fn allocate(file: &File, size: Bytes, path: &Path) -> Result<(), Error> {
    match fallocate(file, FallocateFlags::empty(), 0, size.0 as i64) {
        // The file system cannot; the file stays sparse.
        Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(()),
        Err(errno) => Err(Error::backing("allocate", path)(errno.into())),
    }
}

/// What may be taken of `wanted` without promising more than 80 % of what is free.
fn bounded(file: &Path, wanted: Bytes) -> Result<Bytes, Error> {
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

fn make_file(path: &Path, size: Bytes) -> Result<File, Error> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::backing("create", path))?;
    file.set_len(size.0).and_then(|()| file.sync_all()).map_err(Error::backing("size", path))?;
    Ok(file)
}

fn measure(node: &Path) -> Result<(DevNumber, Bytes), Error> {
    let mut device = File::open(node).map_err(Error::backing("open", node))?;
    let found = device.metadata().map_err(Error::backing("look at", node))?;
    if !found.file_type().is_block_device() {
        return Err(Error::NotBlock { path: node.to_owned() });
    }
    let number = DevNumber { major: major(found.rdev()) as u32, minor: minor(found.rdev()) as u32 };
    let size = device.seek(SeekFrom::End(0)).map_err(Error::backing("measure", node))?;
    Ok((number, Bytes(size)))
}
