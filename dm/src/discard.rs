//! The only unsafe code of the crate: the ioctl BLKDISCARD, for which no crate has a safe call. fallocate(2) with
//! FALLOC_FL_PUNCH_HOLE on a block device is no replacement: it must leave zeroes, which dm-thin cannot promise, so the kernel
//! refuses it there or writes them (`blkdev_fallocate` in block/fops.c).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::units::Bytes;

nix::ioctl_write_ptr_bad!(blkdiscard, nix::request_code_none!(0x12, 119), [u64; 2]);

/// Tells a block device, open for writing, that nobody needs `length` bytes from `offset` any more.
pub(crate) fn discard(device: &File, offset: Bytes, length: Bytes) -> io::Result<()> {
    let range = [offset.0, length.0];
    // SAFETY: the descriptor is open as long as `device` is borrowed; the kernel reads the two numbers at `range` (blk_ioctl_discard
    // in block/ioctl.c) and keeps no pointer. Of any other file than a block device it fails with ENOTTY.
    unsafe { blkdiscard(device.as_raw_fd(), &range) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_no_block_device() {
        let error = discard(&File::open("/dev/null").expect("open"), Bytes(0), Bytes(512));
        let error = error.expect_err("no");
        assert_eq!(error.raw_os_error(), Some(nix::libc::ENOTTY));
    }
}
