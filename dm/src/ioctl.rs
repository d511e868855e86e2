//! The only unsafe code of this crate: two ioctls that no crate wraps safely.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::units::Bytes;

nix::ioctl_write_ptr_bad!(blkdiscard, nix::request_code_none!(0x12, 119), [u64; 2]);
nix::ioctl_read_bad!(loop_get_status64, 0x4c05, [u64; LOOP_INFO64]);

/// `struct loop_info64` has 232 bytes, and begins with `lo_device` and `lo_inode` (include/uapi/linux/loop.h).
const LOOP_INFO64: usize = 232 / 8;

/// Discards `length` bytes of a block device. `device` is open for writing.
///
/// fallocate(2) with FALLOC_FL_PUNCH_HOLE cannot do it: that call must leave zeroes. dm-thin does not promise zeroes, so the
/// kernel refuses the call or writes the zeroes (`blkdev_fallocate` in block/fops.c).
///
/// # Errors
/// EOPNOTSUPP if the device takes no discard, ENOTTY if `device` is not a block device.
pub(crate) fn discard(device: &File, from: Bytes, length: Bytes) -> io::Result<()> {
    let range = [from.0, length.0];
    // SAFETY: the descriptor is open as long as `device` is borrowed; the kernel reads the two numbers at `range`
    // (blk_ioctl_discard in block/ioctl.c) and keeps no pointer. On a file that is not a block device the call fails with
    // ENOTTY.
    unsafe { blkdiscard(device.as_raw_fd(), &range) }?;
    Ok(())
}

/// The device number and the inode number of a loop device's file.
///
/// # Errors
/// ENXIO if no file is attached, ENOTTY if `device` is not a loop device.
pub(crate) fn loop_backing(device: &File) -> io::Result<(u64, u64)> {
    let mut info = [0; LOOP_INFO64];
    // SAFETY: the descriptor is open as long as `device` is borrowed; the kernel writes 232 bytes to `info`, which has them
    // (loop_get_status64 in drivers/block/loop.c), and keeps no pointer. On any other file the call fails with ENOTTY.
    unsafe { loop_get_status64(device.as_raw_fd(), &mut info) }?;
    Ok((info[0], info[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_block_device() {
        let file = File::open("/dev/null").expect("open");
        for error in [
            discard(&file, Bytes(0), Bytes(512)).expect_err("no block device"),
            loop_backing(&file).map(drop).expect_err("no loop device"),
        ] {
            assert_eq!(error.raw_os_error(), Some(nix::libc::ENOTTY));
        }
    }
}
