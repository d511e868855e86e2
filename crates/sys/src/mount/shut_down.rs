//! An ext4 file system shut down under its users, before its disk goes.
//!
//! A process with CAP_SYS_ADMIN in a container can choose that the host panics at an error of its root's file system (ext4(5),
//! `errors`), and can choose so again at any time by a descriptor of the root, also in another container (fspick(2)). After
//! `EXT4_IOC_SHUTDOWN` the file system counts no error any more (`__ext4_error` in fs/ext4/super.c returns at once), and nobody
//! can take the shutdown back. The kernel has this call since Linux 4.11.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::filesystem::{Access, Setting, block_device};
use super::{Detached, MountError};

/// `EXT4_GOING_FLAGS_NOLOGFLUSH` of fs/ext4/ext4.h: the journal is not written, so the call waits for no disk.
const NO_LOG_FLUSH: u32 = 2;

mod call {
    nix::ioctl_read!(ext4_shutdown, b'X', 125, u32);
}

/// Shuts the ext4 file system on a block device down, if it is mounted anywhere or still has a user. `device` must be
/// `/dev/dm-N` or such: the kernel knows the file system by that name. `context` is the label of the mount, where it may have
/// one: the kernel gives no mount with another label.
///
/// # Errors
/// [`MountError::Make`]; the file system is as it was.
pub fn shut_down_ext4(device: &Path, context: Option<&str>) -> Result<(), MountError> {
    let name = device.file_name().unwrap_or(OsStr::new("none"));
    if !Path::new("/sys/fs/ext4").join(name).exists() {
        return Ok(());
    }
    any_mount(device, context)?.shut_down()
}

/// One more mount of a file system that has one. The kernel wants to hear what the first mount said: whether the file system
/// can be written, which may have changed since, and the label.
fn any_mount(device: &Path, context: Option<&str>) -> Result<Detached, MountError> {
    let label = context.map(|context| Setting::Value("context", context));
    let labels = [label.as_slice(), &[]];
    let ways = [Access::ReadWrite, Access::ReadOnly];
    let ways = labels.into_iter().flat_map(|label| ways.map(|access| (access, label)));
    let mut found = Err(fail("find a way to mount", device, Errno::INVAL));
    for (access, label) in ways {
        found = block_device("ext4", device, access, label);
        if found.is_ok() {
            break;
        }
    }
    found
}

impl Detached {
    #[expect(unsafe_code, reason = "no crate has this ioctl")]
    fn shut_down(&self) -> Result<(), MountError> {
        let what = Path::new("a mount");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::openat(&self.0, ".", flags, Mode::empty());
        let top = top.map_err(|cause| fail("open its top", what, cause))?;
        let mut how = NO_LOG_FLUSH;
        // SAFETY: the descriptor is open, and the kernel reads four bytes from `how` (`ext4_ioctl_shutdown`), which lives here.
        let done = unsafe { call::ext4_shutdown(top.as_raw_fd(), &raw mut how) };
        done.map(drop)
            .map_err(|error| fail("shut down", what, Errno::from_raw_os_error(error as i32)))
    }
}

fn fail(step: &str, what: &Path, cause: Errno) -> MountError {
    let (step, what) = (step.to_owned(), PathBuf::from(what));
    MountError::Make { step, fstype: "ext4", what, detail: String::new(), cause }
}
