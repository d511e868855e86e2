//! The digest of a whole tree. Two trees have one digest if no program in a container can tell them apart, except by the times
//! of change and of access, which a copy cannot keep.

use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use sha2::Sha256;
use sha2::digest::Update;
use sharedroot_format::Digest;

use super::walk::{Found, WalkError, walk};

/// Computes the digest of the tree below the directory `top`. Calls `passed` with the number of bytes that have been read.
///
/// The digest is made of the type, owner, mode, device number, extended attributes and link target of each file, of its time of
/// modification in seconds, of every byte of content, and of which names are one file. The attributes of `top` itself are no
/// part of it: a base has its own.
///
/// # Errors
/// [`WalkError`].
pub fn tree_digest(top: BorrowedFd<'_>, mut passed: impl FnMut(u64)) -> Result<Digest, WalkError> {
    let mut hash = Sha256::default();
    hash.update(b"sharedroot tree 1\0");
    let mut buffer = vec![0; 256 << 10];
    let mut read = 0;
    walk(top, |found| {
        add(&mut hash, found, &mut buffer, |count| {
            read += count;
            passed(read);
        })
    })?;
    Ok(hash.into())
}

/// Adds the record of one file. Each part of a record begins with its length or is a number. What is behind the attributes is
/// no attribute's name: an empty text, or, for a symbolic link, the target, if the number of attributes does not stand before
/// them. So the bytes of the records can be read in one way only, and no two different trees have the same bytes.
fn add(
    hash: &mut impl Update,
    found: Found,
    buffer: &mut [u8],
    mut count: impl FnMut(u64),
) -> Result<(), WalkError> {
    let mut text = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    if found.path.as_os_str() == "." {
        return Ok(());
    }
    text(found.path.as_os_str().as_bytes());
    if let Some(first) = &found.same_as {
        text(b"same as");
        text(first.as_os_str().as_bytes());
        return Ok(());
    }
    let stat = &found.stat;
    let kind = found.kind();
    let device = if kind.is_block_device() || kind.is_char_device() { stat.st_rdev } else { 0 };
    // Only whole seconds count. An engine drops the parts of a second when it writes the tar of a layer: the host that built an
    // image has them on its disk, and a host that pulled the image never had them. A base has none.
    let (mode, time) = (stat.st_mode, stat.st_mtime);
    text(format!("{mode:o} {} {} {time} {device}", stat.st_uid, stat.st_gid).as_bytes());
    // A target is never empty and looks like a name. The number stands only where it is needed: keys and recorded digests of
    // all other trees are those of earlier versions.
    if kind.is_symlink() && !found.attributes.is_empty() {
        text(b"");
        text(found.attributes.len().to_string().as_bytes());
    }
    for (name, value) in &found.attributes {
        text(name);
        text(value);
    }
    text(found.target.as_deref().unwrap_or_default());
    let Some(content) = found.content else { return Ok(()) };
    hash.update(&u64::try_from(stat.st_size).unwrap_or(0).to_be_bytes());
    // A file may grow while it is read. `image import` then reads the directory again, and finds another size.
    let mut content = File::from(content).take(u64::try_from(stat.st_size).unwrap_or(0));
    loop {
        let read = content.read(buffer);
        let failed = |source| WalkError { step: "read", path: found.path.clone(), source };
        match read.map_err(failed)? {
            0 => return Ok(()),
            n => {
                hash.update(&buffer[..n]);
                count(n as u64);
            }
        }
    }
}

#[cfg(test)]
#[path = "tree_digest_tests.rs"]
mod tests;
