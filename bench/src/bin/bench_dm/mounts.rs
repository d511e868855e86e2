//! Mounts: with one mount(2), and with the calls of the runtime.

use std::fs;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags,
};

/// mount(2) with the flags and options of the runtime.
pub fn plain(device: &Path, at: &Path) {
    rustix::mount::mount(device, at, "ext4", MountFlags::NOATIME, Some(c"noinit_itable"))
        .unwrap_or_else(|e| panic!("mount {}: {e}", device.display()));
}

/// mount(2) of the device without options, as Docker's devmapper driver did it.
pub fn default(device: &Path, at: &Path) {
    rustix::mount::mount(device, at, "ext4", MountFlags::empty(), None)
        .unwrap_or_else(|e| panic!("mount {}: {e}", device.display()));
}

/// The calls of `crates/bases/src/private.rs`: makes a detached mount and moves it to its place.
pub fn detached(device: &Path, at: &Path) {
    let mount = || {
        let context = rustix::mount::fsopen("ext4", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_string(&context, "source", device)?;
        rustix::mount::fsconfig_set_flag(&context, "noinit_itable")?;
        rustix::mount::fsconfig_create(&context)?;
        let (flags, attributes) =
            (FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NOATIME);
        let made = rustix::mount::fsmount(&context, flags, attributes)?;
        rustix::mount::move_mount(&made, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
    };
    mount().unwrap_or_else(|e| panic!("mount {} in steps: {e}", device.display()));
}

/// umount2(2) as the runtime calls it.
pub fn unmount(at: &Path) {
    rustix::mount::unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .unwrap_or_else(|e| panic!("unmount {}: {e}", at.display()));
}

/// Writes everything to the disks and drops the page cache, before each phase.
pub fn drop_caches() {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").expect("drop the page cache");
}
