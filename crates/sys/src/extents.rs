//! Where the content of a file is on its block device (FIEMAP, Documentation/filesystems/fiemap.rst).

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;

/// The extents that one call can return.
const ROOM: usize = 64;

/// Flags of an extent: the last of the file; and those whose place says nothing: unknown, not allocated yet, encoded, inside
/// the inode or shared with other content (include/uapi/linux/fiemap.h).
const LAST: u32 = 0x1;
const NO_PLACE: u32 = 0x2 | 0x4 | 0x8 | 0x80 | 0x100 | 0x200 | 0x400;

/// `struct fiemap_extent`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved_long: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// `struct fiemap`, with room for extents behind it.
#[repr(C)]
struct Map {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    room: u32,
    reserved: u32,
    extents: [Extent; ROOM],
}

/// The size of `struct fiemap` without extents, which is a part of the call's number.
const HEADER: usize = 32;
const _: () = assert!(size_of::<Map>() == HEADER + ROOM * 56);

mod call {
    use super::{HEADER, Map};

    nix::ioctl_readwrite_bad!(fiemap, nix::request_code_readwrite!(b'f', 11, HEADER), Map);
}

/// Whether `is` holds for the place of any extent of the file, in bytes of its device. True also if a file system does not tell
/// the place of an extent. What is only in memory so far has no place.
///
/// # Errors
/// EOPNOTSUPP if the file system does not know places.
#[expect(unsafe_code, reason = "no crate has this ioctl")]
pub fn any_at(file: impl AsFd, is: impl Fn(Range<u64>) -> bool) -> Result<bool, Errno> {
    let fd = file.as_fd();
    let mut start = 0;
    loop {
        let (room, extents) = (u32::try_from(ROOM).unwrap_or(0), [Extent::default(); ROOM]);
        let length = u64::MAX - start;
        let mut map = Map { start, length, flags: 0, mapped: 0, room, reserved: 0, extents };
        // SAFETY: the descriptor is open as long as `file` is borrowed. The kernel reads the header and writes at most `room`
        // extents behind it, for which `map` has room (ioctl_fiemap in fs/ioctl.c), and keeps no pointer.
        unsafe { call::fiemap(fd.as_raw_fd(), &raw mut map) }?;
        let mapped = map.extents.get(..map.mapped as usize).unwrap_or(&map.extents);
        for extent in mapped {
            let end = extent.physical.saturating_add(extent.length);
            if extent.flags & NO_PLACE != 0 || is(extent.physical..end) {
                return Ok(true);
            }
        }
        let Some(last) = mapped.last().filter(|last| last.flags & LAST == 0) else {
            return Ok(false);
        };
        match last.logical.checked_add(last.length) {
            Some(next) if next > start => start = next,
            _ => return Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    /// The directory of the build, because a temporary directory may be in memory.
    #[test]
    fn every_extent_of_a_file_is_looked_at() {
        let program = std::env::current_exe().unwrap();
        let file = tempfile::tempfile_in(program.parent().unwrap()).unwrap();
        assert_eq!(any_at(&file, |_| true), Ok(false), "an empty file");
        for piece in 0..ROOM as u64 * 3 {
            file.write_all_at(b"x", piece << 20).unwrap();
        }
        file.sync_all().unwrap();
        let seen = RefCell::new(0_usize);
        let count = |place: Range<u64>| {
            *seen.borrow_mut() += usize::from(!place.is_empty());
            false
        };
        assert_eq!(any_at(&file, count), Ok(false));
        assert!(*seen.borrow() >= ROOM * 3, "{seen:?}");
        assert_eq!(any_at(&file, |_| true), Ok(true));
        let nowhere = File::open("/proc/self/status").unwrap();
        assert_eq!(any_at(nowhere, |_| true), Err(Errno::EOPNOTSUPP));
    }
}
