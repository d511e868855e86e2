//! One name: the second tree gets what the first tree has under this name.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::allowance::copying;
use super::attributes::{Attributes, is_finished, is_of_a_layer};
use super::content::Buffers;
use super::error::{Failed, doing};
use super::links::Links;
use super::node::{self, Node, is_whiteout, kind, look};
use super::part;
use super::pending::Pending;
use super::remove::remove;
use super::rights::{UNFINISHED, is_unfinished};

/// What a walk keeps for the work on all of its files.
pub(super) struct Room<'a, 's> {
    pub(super) buffers: &'a mut Buffers,
    /// The names that are still to be removed.
    pub(super) pending: &'a mut Pending<'s>,
    /// Whether a file of the second tree may get other content. Where somebody may have opened that file when it held something
    /// else, a new file takes its place.
    pub(super) in_place: bool,
}

/// Makes `name` of the second directory what `node`, of the same name in the first directory, is. `node` is no directory.
/// Returns whether anything changed.
pub(super) fn make(
    to: BorrowedFd<'_>,
    name: &CStr,
    node: &Node,
    links: &mut Links,
    Room { buffers, pending, in_place }: Room<'_, '_>,
) -> Result<bool, Failed> {
    buffers.allowance.make()?;
    let attributes = Attributes::of(node).map_err(doing("read the attributes of"))?;
    if let Some(found) = look(to, name).map_err(doing("stat"))? {
        if kind(&found) == kind(&node.stat) {
            let other = Node::named(to, name).map_err(doing("open"))?;
            let mut same = || same_content(node, &other, buffers).map_err(copying("compare"));
            if other.stat.st_nlink > 1 {
                // A file with several names is never written to: some of its names may have to keep the old content. It is
                // compared with one file only, the first that can be the same, so that many names cost no more than one.
                let theirs = Attributes::of(&other).map_err(doing("read the attributes of"))?;
                let may = attributes.same(&theirs) && links.claim(&other.stat);
                if may && same()? {
                    return Ok(false);
                }
            } else {
                let same = same()?;
                if same || in_place && kind(&node.stat) == FileType::RegularFile {
                    let part = attributes.rights_of_part(Some(&other.stat));
                    let left = |failed: Failed| failed.with_part(part);
                    if !same {
                        rewrite(&other, node, buffers).map_err(copying("write")).map_err(left)?;
                    }
                    return Ok(attributes.give(&other).map_err(left)? || !same);
                }
            }
        }
        remove(to, name, pending).map_err(doing("replace"))?;
    }
    if is_whiteout(&node.stat) {
        return Err(Failed::not_in_an_overlay("make the device 0:0"));
    }
    buffers.allowance.make()?;
    let made = create(to, name, node, buffers).map_err(copying("make"))?;
    attributes.give(&made).map_err(|failed| failed.with_part(attributes.rights_of_part(None)))?;
    Ok(true)
}

/// Takes away from a directory the permissions that its counterpart does not give, before anything is written into it.
pub(super) fn begin_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<bool, Failed> {
    let (attributes, to) = counterparts(from, to)?;
    let withdrawn = attributes.withdraw(&to).map_err(doing("set the permissions of"));
    withdrawn.map_err(Failed::without_content)
}

/// Gives a directory the attributes of its counterpart, after all work that changes its times.
pub(super) fn finish_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<bool, Failed> {
    let (attributes, to) = counterparts(from, to)?;
    attributes.give(&to)
}

fn counterparts(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(Attributes, Node), Failed> {
    let open = |dir| Node::directory(dir).map_err(doing("open"));
    let (from, to) = (open(from)?, open(to)?);
    let attributes = Attributes::of(&from).map_err(doing("read the attributes of"))?;
    Ok((attributes, to))
}

/// Fails for an inode that is part of a layer of a container's own overlay: the engine's overlay would take the inode's
/// attributes for its own.
pub(super) fn refuse_layer(node: &Node) -> Result<(), Failed> {
    match is_of_a_layer(node).map_err(doing("read the attributes of"))? {
        true => Err(Failed::not_in_an_overlay("set trusted.overlay attributes of")),
        false => Ok(()),
    }
}

/// Whether the overlay merges this directory with the image's directory of the same place. A directory that hides or replaces
/// the image's directory is compared as a whole.
pub(super) fn is_merged(upper: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    let dir = match node::directory(upper, name) {
        Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => return Ok(false),
        opened => opened?,
    };
    let node = Node::directory(dir.as_fd())?;
    for attribute in [
        c"trusted.overlay.opaque",
        c"trusted.overlay.redirect",
        c"user.overlay.opaque",
        c"user.overlay.redirect",
    ] {
        match rustix::fs::getxattr(node.path(), attribute, &mut [0_u8; 1][..]) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Ok(_) | Err(Errno::RANGE) => return Ok(false),
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

fn same_content(node: &Node, other: &Node, buffers: &mut Buffers) -> Result<bool, Errno> {
    match kind(&node.stat) {
        FileType::RegularFile if node.stat.st_size != other.stat.st_size => Ok(false),
        FileType::RegularFile => {
            let (node_fd, other_fd) = (node.open(OFlags::RDONLY)?, other.open(OFlags::RDONLY)?);
            buffers.same(node_fd.as_fd(), other_fd.as_fd(), size(node))
        }
        FileType::Symlink => Ok(node.target()? == other.target()?),
        FileType::CharacterDevice | FileType::BlockDevice => {
            Ok(node.stat.st_rdev == other.stat.st_rdev)
        }
        _ => Ok(true),
    }
}

/// Whether a write-back that did not end can have left `found` where it was to make `wanted`. Its attributes come after its
/// content, and its ACL and its mode last of all (`give.rs`): a file with `wanted`'s attributes was whole, although not all of
/// it need have reached the disk before a power cut.
pub(super) fn is_left_of(found: &Node, wanted: &Node) -> Result<bool, Errno> {
    if kind(&found.stat) != kind(&wanted.stat) {
        return Ok(false);
    }
    match kind(&found.stat) {
        FileType::RegularFile => {
            let is_whole = is_finished(&wanted.stat, &found.stat);
            Ok(is_whole || is_unfinished(&found.stat) || part::is_part(found)?)
        }
        FileType::Symlink => Ok(found.target()? == wanted.target()?),
        _ => Ok(found.stat.st_rdev == wanted.stat.st_rdev),
    }
}

/// Writes what differs into the file `other` of the second tree.
///
/// An overlay makes a copy of an image's file before any change. The mode is that change: after an open(2) for writing a kill
/// would leave the copy without the mode, and a start would take the image's content for a copy of somebody's.
pub(super) fn rewrite(other: &Node, node: &Node, buffers: &mut Buffers) -> Result<(), Errno> {
    let from = node.open(OFlags::RDONLY)?;
    rustix::fs::chmod(other.path(), UNFINISHED)?;
    let to = other.open(OFlags::RDWR)?;
    buffers.copy(from.as_fd(), to.as_fd(), size(node), false)
}

/// Makes what is not there. Nobody but root may open it until it has its owner and its mode. Returns what was made, and not what
/// has the name by then.
pub(super) fn create(
    to: BorrowedFd<'_>,
    name: &CStr,
    node: &Node,
    buffers: &mut Buffers,
) -> Result<Node, Errno> {
    match kind(&node.stat) {
        FileType::RegularFile => {
            let source = node.open(OFlags::RDONLY)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
            let made = rustix::fs::openat(to, name, flags | OFlags::CLOEXEC, UNFINISHED)?;
            let copied = buffers.copy(source.as_fd(), made.as_fd(), size(node), true);
            // A part of a file that does not fit is of no use to anybody.
            copied.inspect_err(|_| {
                let _ = rustix::fs::unlinkat(to, name, AtFlags::empty());
            })?;
            return Node::of(made);
        }
        FileType::Symlink => rustix::fs::symlinkat(node.target()?, to, name)?,
        kind => rustix::fs::mknodat(to, name, kind, Mode::empty(), node.stat.st_rdev)?,
    }
    // These have no descriptor when they are made.
    let made = Node::named(to, name)?;
    let is_new = kind(&made.stat) == kind(&node.stat)
        && made.stat.st_rdev == node.stat.st_rdev
        && made.stat.st_nlink == 1;
    if is_new { Ok(made) } else { Err(Errno::STALE) }
}

fn size(node: &Node) -> u64 {
    u64::try_from(node.stat.st_size).unwrap_or(0)
}
