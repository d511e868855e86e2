//! Loop devices of a pool, through the crate `loopdev-3`.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use loopdev::{LoopControl, LoopDevice};
use nix::errno::Errno;

use crate::error::Error;
use crate::ioctl::loop_backing;

/// How many free loop devices are tried. Another process may take a free loop device first.
const RACES: usize = 64;

/// A file on a loop device. Dropping this detaches the file, if this value attached the file and was not kept.
#[derive(Debug)]
pub(crate) struct Attached {
    /// `/dev/loopN`
    pub(crate) node: PathBuf,
    undo: bool,
}

impl Attached {
    /// Leaves the file attached.
    pub(crate) fn keep(mut self) {
        self.undo = false;
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if !self.undo {
            return;
        }
        if let Err(error) = LoopDevice::open(&self.node).and_then(|device| device.detach()) {
            tracing::warn!(device = %self.node.display(), %error, "cannot detach a loop device; run `losetup -d` on it");
        }
    }
}

/// Attaches `file` to a loop device. If an earlier activation was interrupted, the file may be attached already; then its loop
/// device is returned.
pub(crate) fn attach(file: &Path) -> Result<Attached, Error> {
    let failed = |source| Error::Backing {
        action: "attach to a loop device",
        path: file.to_owned(),
        source,
    };
    if let Some(node) = find(file).map_err(failed)? {
        return Ok(Attached { node, undo: false });
    }
    let control = LoopControl::open().map_err(|cause| Error::NoLoop { cause })?;
    for _ in 0..RACES {
        let device = control.next_free().map_err(|cause| Error::NoLoop { cause })?;
        // Not with autoclear: the loop device must outlive this process, and while dm reloads a table nothing holds it open.
        match device.attach_file(file) {
            Ok(()) => {
                let node = device.path().ok_or_else(|| failed(io::Error::other(Errno::ENODEV)))?;
                let attached = Attached { node, undo: true };
                // Without direct I/O every block is cached twice. Some file systems, such as tmpfs, have no direct I/O.
                if let Err(error) = device.set_direct_io(true) {
                    tracing::info!(file = %file.display(), %error, "cannot use direct I/O for a loop file; the page cache holds its blocks twice");
                }
                return Ok(attached);
            }
            Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(Error::NoLoop { cause: Errno::EBUSY.into() })
}

/// Detaches `file` from its loop device, if the file has one.
pub(crate) fn detach(file: &Path) -> Result<(), Error> {
    let failed = |source| Error::Backing {
        action: "detach from its loop device",
        path: file.to_owned(),
        source,
    };
    match find(file).map_err(failed)? {
        Some(node) => LoopDevice::open(node).and_then(|device| device.detach()).map_err(failed),
        None => Ok(()),
    }
}

/// Makes the kernel read the size of an attached file again.
pub(crate) fn measure_again(file: &Path) -> Result<(), Error> {
    let failed = |source| Error::Backing {
        action: "tell the loop device the size of",
        path: file.to_owned(),
        source,
    };
    match find(file).map_err(failed)? {
        Some(node) => {
            LoopDevice::open(node).and_then(|device| device.set_capacity()).map_err(failed)
        }
        None => Ok(()),
    }
}

/// The loop device of `file`.
///
/// The kernel shows the path of every loop device's file in sysfs, but the path may be one of another mount namespace. So the
/// inode is compared, too. A loop device with autoclear, or with an offset into the file, was not attached by this crate.
fn find(file: &Path) -> io::Result<Option<PathBuf>> {
    let file = file.canonicalize()?;
    let inode = fs::metadata(&file)?;
    let inode = (inode.dev(), inode.ino());
    let entries = match fs::read_dir("/sys/block") {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().as_bytes().starts_with(b"loop") {
            continue;
        }
        // A free loop device has no `backing_file`.
        let Ok(mut backing) = fs::read(entry.path().join("loop/backing_file")) else { continue };
        if backing.last() == Some(&b'\n') {
            backing.pop();
        }
        if Path::new(&std::ffi::OsString::from_vec(backing)) != file {
            continue;
        }
        let plain = |name: &str| {
            fs::read_to_string(entry.path().join("loop").join(name))
                .is_ok_and(|text| text.trim() == "0")
        };
        let node = Path::new("/dev").join(entry.file_name());
        let device = File::open(&node)?;
        let ours =
            device.metadata()?.file_type().is_block_device() && loop_backing(&device)? == inode;
        if ours && plain("autoclear") && plain("offset") && plain("sizelimit") {
            return Ok(Some(node));
        }
    }
    Ok(None)
}
