//! BLKDISCARD. This file has unsafe code, because no crate has this call.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::Path;

use rustix::ioctl::{Setter, ioctl, opcode};

/// `_IO(0x12, 119)` of `linux/fs.h`.
const BLKDISCARD: u32 = opcode::none(0x12, 119);

/// Discards the first `length` bytes of a block device.
pub fn discard(device: &Path, length: u64) {
    let open = File::options().write(true).open(device);
    let open = open.unwrap_or_else(|e| panic!("open {}: {e}", device.display()));
    // SAFETY: BLKDISCARD reads two 64-bit numbers, offset and length, and keeps no pointer (blk_ioctl_discard in
    // block/ioctl.c).
    let call = unsafe { Setter::<BLKDISCARD, [u64; 2]>::new([0, length]) };
    // SAFETY: as above; the descriptor is open.
    unsafe { ioctl(&open, call) }.unwrap_or_else(|e| panic!("discard {}: {e}", device.display()));
}
