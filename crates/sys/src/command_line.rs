//! The command line of this process as others see it, without its end.
//!
//! journald keeps the command line with every message (`_CMDLINE`), and the command line of `exec` may have an environment and
//! arguments of a container in it.

use std::ffi::c_void;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;

use rustix::process::{VirtualMemoryMapAddress, set_virtual_memory_map_address};

use crate::process::stat_field;

/// Lets the kernel show the command line of this process (`/proc/PID/cmdline`) up to the first argument that is `word`.
///
/// No memory changes: this process still has all of its arguments.
///
/// # Errors
/// The errors of procfs and of prctl(2): PR_SET_MM needs CAP_SYS_RESOURCE.
#[expect(unsafe_code, reason = "rustix has the call, as an unsafe function")]
pub fn show_up_to(word: &str) -> io::Result<()> {
    let mut length = 0;
    for argument in std::env::args_os() {
        length += argument.as_bytes().len() + 1;
        if argument == word {
            break;
        }
    }
    let end = begin(&fs::read("/proc/self/stat")?)
        .and_then(|begin| NonNull::new((begin + length) as *mut c_void))
        .ok_or(io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel uses the address to show the command line, and checks that it is in a mapping. No memory changes.
    unsafe { set_virtual_memory_map_address(VirtualMemoryMapAddress::ArgEnd, Some(end)) }?;
    Ok(())
}

/// The address of the command line (proc_pid_stat(5), field 48).
fn begin(stat: &[u8]) -> Option<usize> {
    stat_field(stat, 48)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_is_understood() {
        let stat = fs::read("/proc/self/stat").unwrap();
        let begin = begin(&stat).unwrap();
        assert!(begin > 1 << 16, "{}", stat.escape_ascii());
        assert_eq!(super::begin(b"7 (a) b) S 1"), None);
    }
}
