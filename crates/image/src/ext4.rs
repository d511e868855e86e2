//! The file system of a base: `mke2fs -d` writes the merged tree straight onto the device.
//!
//! Equal layers make equal blocks on any host with the same e2fsprogs, because nothing of the host decides about the file
//! system. The features are listed here, and mke2fs.conf is not read. The UUID and the hash seed follow from the key. mke2fs
//! takes names in alphabetical order. The times that a host leaves on its layers when it extracts and reads them (of change
//! and of access) are overwritten.
//!
//! Blocks of the device that were never written may hold old data: a thin pool may skip the zeroing of blocks. This is safe,
//! because ext4 never reads an inode table beyond its high-water mark nor a free block, and mke2fs writes the journal. A writable
//! mount of a snapshot needs the option `noinit_itable`, or the kernel begins to zero these tables.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use rustix::fs::FileType;
use sharedroot_format::BaseKey;
use sharedroot_format::base::{BLOCK, BYTES_PER_INODE, FEATURES, FIXED_TIME, INODE, JOURNAL_MIB};

use super::debugfs::{anonymous_file, set_attributes};
use super::e2fsprogs::Tool;
use crate::error::MakeError;
use crate::tree::{Tree, Usage};

/// Makes a file system of `size_bytes` on `device` that holds the files of `tree`: the base with the key `key`.
///
/// The file system has a directory `lost+found` only if the image has one.
///
/// # Errors
/// [`MakeError::TooLarge`]; the other variants name what the base cannot hold, or the program of e2fsprogs that failed, with its
/// words. After an error the device holds nothing of use.
pub fn make_filesystem(
    tree: &Tree,
    key: &BaseKey,
    device: &Path,
    size_bytes: u64,
) -> Result<(), MakeError> {
    let usage = tree.usage()?;
    let inodes = inode_count(usage, size_bytes);
    let needs = usage.bytes + inodes * INODE + (JOURNAL_MIB << 20);
    if needs > size_bytes {
        return Err(MakeError::TooLarge { device: device.to_owned(), needs, size: size_bytes });
    }

    // This comes before anything is written: an image that cannot be a base costs each of its containers a walk and no more.
    let attributes = set_attributes(tree)?;

    let owner = tree.top().owner;
    // 16 blocks of 4 KiB are one thin block. Without these options mke2fs would ask the device.
    let extended = format!(
        "lazy_itable_init=1,lazy_journal_init=0,nodiscard,no_copy_xattrs,num_backup_sb=0,\
         stride=16,stripe_width=16,hash_seed={},root_owner={}:{}",
        key.uuid("hash seed"),
        owner.uid,
        owner.gid,
    );
    let mut mke2fs = Tool::find("mke2fs")?;
    // The name of the type picks a section of mke2fs.conf and nothing else. The empty file has the built-in section for
    // "ext2". The features make the file system an ext4.
    mke2fs.command.env("MKE2FS_CONFIG", "/dev/null").args(["-q", "-t", "ext2", "-T", "default"]);
    mke2fs.command.args(["-O", FEATURES, "-E", &extended]);
    mke2fs.command.args(["-b", &BLOCK.to_string(), "-I", &INODE.to_string()]);
    mke2fs.command.args(["-N", &inodes.to_string(), "-m", "0"]);
    // The journal lies at the front: resize2fs would have to move another one when it makes a snapshot smaller.
    mke2fs.command.args(["-J", &format!("size={JOURNAL_MIB},location=0")]);
    mke2fs.command.args(["-U", &key.uuid("file system"), "-o", "Linux"]);
    mke2fs.command.args(["-d", "/proc/self/fd/0"]).arg(device);
    mke2fs.command.arg((size_bytes / BLOCK).to_string());
    let top = tree.root().try_clone_to_owned().map_err(|source| MakeError::Walk {
        path: "/".into(),
        step: "open",
        source,
    })?;
    // The tree has no path. As standard input it reaches this child process and no other.
    mke2fs.run(device, File::from(top).into(), |output| output.status.success())?;

    finish(device, tree, usage, &attributes)
}

/// The inode of `lost+found`, the first that mke2fs uses.
const LOST_FOUND: u64 = 11;

/// Does what mke2fs cannot: sets the mode of the root directory, removes `lost+found` (e2fsck makes it when it needs it), runs
/// the commands `attributes`, and sets the times that differ between hosts.
///
/// debugfs always ends with the exit code 0. So this reads what debugfs says, and looks at the result.
fn finish(device: &Path, tree: &Tree, usage: Usage, attributes: &[u8]) -> Result<(), MakeError> {
    let has_own = tree.has("lost+found");
    let mode = FileType::Directory.as_raw_mode() | tree.top().mode;
    // mke2fs counts what it wrote, which depends on the holes of a host's layers.
    let mut script = format!("ssv kbytes_written 0\nsif / mode 0{mode:o}\n");
    if !has_own {
        script.push_str("rmdir /lost+found\n");
    }
    let mut script = script.into_bytes();
    script.extend(attributes);
    // mke2fs numbers the files from the first free inode on, without a gap. `usage` also counts the root directory, which
    // has an inode of its own.
    let last = LOST_FOUND + usage.inodes - 1 - u64::from(has_own);
    for inode in LOST_FOUND + u64::from(!has_own)..=last {
        // mke2fs writes no parts of a second.
        for time in ["ctime", "atime"] {
            script.extend(format!("sif <{inode}> {time} @{FIXED_TIME}\n").bytes());
        }
    }
    let script = anonymous_file(&script).map_err(|source| MakeError::Scratch {
        step: "write commands for debugfs to the",
        path: "memfd".into(),
        source,
    })?;
    let mut change = Tool::find("debugfs")?;
    change.command.args(["-w", "-f", "-"]).arg(device);
    change.run(device, script.into(), |output| {
        let said = String::from_utf8_lossy(&output.stderr);
        output.status.success() && said.lines().all(|line| line.starts_with("debugfs "))
    })?;
    if has_own {
        return Ok(());
    }
    let mut look = Tool::find("debugfs")?;
    look.command.args(["-R", "stat /lost+found"]).arg(device);
    look.run(device, Stdio::null(), |output| {
        String::from_utf8_lossy(&output.stderr).contains("File not found by ext2_lookup")
    })
}

/// Checks all metadata of the base on `device` with e2fsck, also their checksums. Changes nothing.
///
/// # Errors
/// [`MakeError::Tool`] with e2fsck's own words; [`MakeError::NoTool`], [`MakeError::Start`].
pub fn check_filesystem(device: &Path) -> Result<(), MakeError> {
    let mut e2fsck = Tool::find("e2fsck")?;
    e2fsck.command.arg("-fn").arg(device);
    e2fsck.run(device, Stdio::null(), |output| output.status.success())
}

/// The number of inodes: what mke2fs would choose for a device of this size, or a quarter more than the tree has if that is
/// more. A snapshot of the base needs free inodes for new files.
fn inode_count(usage: Usage, size_bytes: u64) -> u64 {
    (size_bytes / BYTES_PER_INODE).max(usage.inodes + usage.inodes / 4 + 64)
}

#[cfg(test)]
#[path = "ext4_bounds_tests.rs"]
mod bounds_tests;
#[cfg(test)]
#[path = "ext4_tests.rs"]
mod tests;
