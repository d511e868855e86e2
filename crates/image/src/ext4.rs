//! The file system of a base: `mke2fs -d` writes the merged tree straight onto the device.
//!
//! Equal layers make equal blocks on any host with the same e2fsprogs, because nothing of the host decides about the file
//! system. The features are listed here, and mke2fs.conf is not read. The UUID and the hash seed follow from the key. mke2fs
//! takes names in alphabetical order. The times that a host leaves on its layers when it extracts and reads them (of change
//! and of access) are overwritten.
//!
//! Blocks of the device that were never written may hold old data: a thin pool may skip the zeroing of blocks. This is safe,
//! because ext4 never reads an inode table beyond its high-water mark nor a free block, and mke2fs writes the journal. A
//! writable mount of a snapshot needs the option `noinit_itable`, or the kernel begins to zero these tables.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::process::Stdio;

use rustix::fs::FileType;
use sharedroot_format::BaseKey;
use sharedroot_format::base::{BLOCK, FEATURES, FIXED_TIME, INODE, JOURNAL_MIB};

use super::debugfs::{run_script, set_attributes};
use super::e2fsprogs::Tool;
use crate::error::MakeError;
use crate::tree::Tree;
use crate::usage::Usage;

/// Makes a file system of `size_bytes` on `device` that holds the files of `tree`: the base with the key `key`.
///
/// The file system has a directory `lost+found` only if the image has one.
///
/// # Errors
/// [`MakeError::TooLarge`]; the other variants name what the base cannot hold, or the program of e2fsprogs that failed, with
/// its words. After an error the device holds nothing of use.
pub fn make_filesystem(
    tree: &Tree,
    key: &BaseKey,
    device: &Path,
    size_bytes: u64,
) -> Result<(), MakeError> {
    let count = tree.count(size_bytes)?;
    let (usage, inodes) = (count.usage, count.usage.inode_count(size_bytes));
    let needs = usage.needs(size_bytes);
    if needs > size_bytes {
        return Err(MakeError::TooLarge { needs, size: size_bytes });
    }

    // This comes before anything is written: an image that cannot be a base costs each of its containers a walk and no more.
    let attributes = set_attributes(count, tree.scratch())?;

    let owner = tree.top().owner;
    let own = format!(
        "no_copy_xattrs,hash_seed={},root_owner={}:{}",
        key.uuid("hash seed"),
        owner.uid,
        owner.gid,
    );
    let mut mke2fs = mke2fs(&own, inodes)?;
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

/// mke2fs with what all file systems have in common. `own` are the extended options of one file system.
pub(super) fn mke2fs(own: &str, inodes: u64) -> Result<Tool, MakeError> {
    // 16 blocks of 4 KiB are one thin block. Without these options mke2fs would ask the device.
    let extended = format!(
        "lazy_itable_init=1,lazy_journal_init=0,nodiscard,num_backup_sb=0,stride=16,stripe_width=16,{own}"
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
    Ok(mke2fs)
}

/// The inode of `lost+found`, the first that mke2fs uses.
const LOST_FOUND: u64 = 11;

/// How many inodes get their times from one script for debugfs: the script has 5 MiB. An image may have millions of files.
const INODES_OF_A_SCRIPT: u64 = 1 << 16;

/// Does what mke2fs cannot: sets the mode of the root directory, removes `lost+found` (e2fsck makes it when it needs it), runs
/// the commands `attributes`, and sets the times that differ between hosts.
fn finish(device: &Path, tree: &Tree, usage: Usage, attributes: &[u8]) -> Result<(), MakeError> {
    let has_own = tree.has("lost+found");
    let mode = FileType::Directory.as_raw_mode() | tree.top().mode;
    // mke2fs counts what it wrote, which depends on the holes of a host's layers.
    let mut script = format!("ssv kbytes_written 0\nsif / mode 0{mode:o}\n");
    if !has_own {
        script.push_str("rmdir /lost+found\n");
    }
    run_script(device, &[script.as_bytes(), attributes])?;
    // mke2fs numbers the files from the first free inode on, without a gap. `usage` also counts the root directory, which
    // has an inode of its own.
    let first = LOST_FOUND + u64::from(!has_own);
    let end = LOST_FOUND + usage.inodes - u64::from(has_own);
    for inodes in pieces(first..end) {
        run_script(device, &[&fixed_times(inodes)])?;
    }
    if has_own {
        return Ok(());
    }
    let mut look = Tool::find("debugfs")?;
    look.command.args(["-R", "stat /lost+found"]).arg(device);
    look.run(device, Stdio::null(), |output| {
        String::from_utf8_lossy(&output.stderr).contains("File not found by ext2_lookup")
    })
}

/// The inodes in groups, each for one script.
fn pieces(inodes: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = inodes.end;
    let piece = move |first| first..end.min(first + INODES_OF_A_SCRIPT);
    inodes.step_by(INODES_OF_A_SCRIPT as usize).map(piece)
}

/// The commands that set the times of these inodes. mke2fs writes no parts of a second.
fn fixed_times(inodes: Range<u64>) -> Vec<u8> {
    let times = |inode| ["ctime", "atime"].map(|time| (inode, time));
    let command = |(inode, time)| format!("sif <{inode}> {time} @{FIXED_TIME}\n").into_bytes();
    inodes.flat_map(times).flat_map(command).collect()
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

#[cfg(test)]
#[path = "ext4_bounds_tests.rs"]
mod bounds_tests;
#[cfg(test)]
#[path = "ext4_tests.rs"]
mod tests;
