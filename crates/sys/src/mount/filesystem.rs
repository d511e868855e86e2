//! A new mount of a file system: of a block device, or in memory.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::{Detached, MountError};

/// One option of a file system, as fsconfig(2) takes it.
#[derive(Debug, Clone, Copy)]
pub enum Setting<'a> {
    /// A bare word, such as `noload`.
    Flag(&'a str),
    /// A key and its value, such as `context` and a label.
    Value(&'a str, &'a str),
    /// A key and a path, such as `lowerdir+` and a layer.
    Path(&'a str, &'a Path),
}

/// Whether the superblock and the mount of a block device take writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Neither takes writes.
    ReadOnly,
    /// Both take writes.
    ReadWrite,
}

/// Mounts the file system on a block device. Access times are never written.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn block_device(
    fstype: &'static str,
    device: &Path,
    access: Access,
    options: &[Setting<'_>],
) -> Result<Detached, MountError> {
    let mut all = vec![Setting::Path("source", device)];
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOATIME;
    if access == Access::ReadOnly {
        all.push(Setting::Flag("ro"));
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    all.extend_from_slice(options);
    make(fstype, device, &all, attributes)
}

/// Makes an empty file system in memory.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn tmpfs(options: &[Setting<'_>]) -> Result<Detached, MountError> {
    make("tmpfs", Path::new("memory"), options, MountAttrFlags::empty())
}

/// Makes an empty file system in memory that stays empty: its superblock and its mount are read-only.
///
/// # Errors
/// [`MountError::Make`] with the kernel's own words.
pub fn empty(options: &[Setting<'_>]) -> Result<Detached, MountError> {
    let all = [&[Setting::Value("source", "tmpfs"), Setting::Flag("ro")], options].concat();
    make("tmpfs", Path::new("memory"), &all, MountAttrFlags::MOUNT_ATTR_RDONLY)
}

/// Mounts a file system with these options; `what` is its name in an error.
pub(super) fn make(
    fstype: &'static str,
    what: &Path,
    options: &[Setting<'_>],
    attributes: MountAttrFlags,
) -> Result<Detached, MountError> {
    let fail = |step: &str, context: Option<BorrowedFd<'_>>| {
        let step = step.to_owned();
        let detail = context.map(kernel_words).unwrap_or_default();
        move |cause| MountError::Make { step, fstype, what: what.to_owned(), detail, cause }
    };
    let context = rustix::mount::fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|e| fail("fsopen", None)(e))?;
    for option in options {
        let (name, result) = match option {
            Setting::Flag(key) => (key, rustix::mount::fsconfig_set_flag(&context, *key)),
            Setting::Value(key, value) => {
                (key, rustix::mount::fsconfig_set_string(&context, *key, *value))
            }
            Setting::Path(key, path) => {
                (key, rustix::mount::fsconfig_set_string(&context, *key, *path))
            }
        };
        result.map_err(|e| fail(&format!("option {name}"), Some(context.as_fd()))(e))?;
    }
    rustix::mount::fsconfig_create(&context)
        .map_err(|e| fail("create the superblock", Some(context.as_fd()))(e))?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map(Detached)
        .map_err(|e| fail("fsmount", Some(context.as_fd()))(e))
}

/// What the kernel wrote into the file-system context about its refusal: ` (kernel: …; …)`, or nothing.
fn kernel_words(context: BorrowedFd<'_>) -> String {
    let mut words = String::new();
    let mut line = [0_u8; 1024];
    while let Ok(n @ 1..) = rustix::io::read(context, &mut line) {
        words.push_str(if words.is_empty() { " (kernel: " } else { "; " });
        words.push_str(String::from_utf8_lossy(&line[..n]).trim());
    }
    if !words.is_empty() {
        words.push(')');
    }
    words
}
