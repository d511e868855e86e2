//! A file on a loop device, for a rootfs mount with the option `loop` (containerd's snapshotter `blockfile`).

use std::io;
use std::path::Path;

use loopdev::{LoopControl, LoopDevice};
use rustix::io::Errno;

/// How many free loop devices are tried. Another process may take a free one first.
const RACES: usize = 64;

/// How the file is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// Nothing is written.
    pub read_only: bool,
    /// The page cache does not have the file's blocks a second time.
    pub direct_io: bool,
}

/// Attaches the file to a loop device, which the kernel frees when nobody has it open or mounted any more.
///
/// # Errors
/// No loop device is free, or the file cannot be opened.
pub fn attach(file: &Path, modes: Modes) -> io::Result<LoopDevice> {
    let control = LoopControl::open()?;
    for _ in 0..RACES {
        let device = control.next_free()?;
        let options = device.with().read_only(modes.read_only).autoclear(true);
        match options.set_direct_io(modes.direct_io).attach(file) {
            Ok(()) => return Ok(device),
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::BUSY.into())
}
