//! Block devices: opened exclusively, searched for data, cleared, measured.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{major, minor};

use super::signature;
use crate::error::Error;
use crate::kernel::DevNumber;
use crate::units::Bytes;

/// Opens a block device exclusively. The kernel refuses O_EXCL for a device that is mounted or part of another device
/// (open(2), EBUSY).
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

/// What a device contains; `None` if it is empty. Only the first and the last MiB are read: every known format begins in the
/// first MiB or ends in the last.
pub(super) fn carried(device: &mut File) -> io::Result<Option<&'static str>> {
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

pub(super) fn clear_ends(device: &mut File) -> io::Result<()> {
    for (from, length) in ends(device)? {
        device.seek(SeekFrom::Start(from))?;
        device.write_all(&vec![0; length])?;
    }
    device.sync_all()
}

/// The offset and the length of a device's first and last MiB.
fn ends(device: &mut File) -> io::Result<[(u64, usize); 2]> {
    let size = device.seek(SeekFrom::End(0))?;
    let length = size.min(signature::LOOK as u64);
    Ok([(0, length as usize), (size - length, length as usize)])
}

pub(super) fn measure(node: &Path) -> Result<(DevNumber, Bytes), Error> {
    let mut device = File::open(node).map_err(Error::backing("open", node))?;
    let found = device.metadata().map_err(Error::backing("look at", node))?;
    if !found.file_type().is_block_device() {
        return Err(Error::NotBlock { path: node.to_owned() });
    }
    let number = DevNumber { major: major(found.rdev()) as u32, minor: minor(found.rdev()) as u32 };
    let size = device.seek(SeekFrom::End(0)).map_err(Error::backing("measure", node))?;
    Ok((number, Bytes(size)))
}
