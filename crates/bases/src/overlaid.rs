//! The private rootfs as an overlay: for an engine that recognises a mounted root only by its overlay
//! (`image/live_restore.rs`).
//!
//! The overlay's upper directory is the snapshot's own tree, and its only lower directory is empty. So every file is the
//! snapshot's file, nothing is ever copied up, and blocks are copied as in a plain snapshot. The upper directory of an overlay
//! must not contain the overlay's scratch directory, so a new snapshot's tree is moved down by one directory:
//!
//! | in the snapshot's file system | what |
//! |---|---|
//! | `.sharedroot-tree` | the container's root |
//! | `.sharedroot-work` | the overlay's scratch directory |
//! | `.sharedroot-lower` | empty; made last, so its existence tells that the whole tree has been moved |
//!
//! The container sees only the first of these directories. Every later reader of the snapshot reads it through such an overlay:
//! the kernel hides the overlay's own attributes, and shows what the container made. Nothing in the tree can point the overlay
//! to another place: bases hold no `trusted.overlay` attributes and no whiteouts, and through an overlay a container can make
//! neither (Documentation/filesystems/overlayfs.rst, "nesting overlayfs mounts").

use std::ffi::CStr;
use std::fs::{DirBuilder, File, FileTimes};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use sharedroot_dm::VolumeName;
use sharedroot_label::{MountLabel, enabled};
use sharedroot_sys::mount::{self, Detached, Setting, UpperDirs};

use crate::changes::Times;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::labels::context;
use super::note::Note;
use super::skeleton::copy;
use crate::bases::Bases;
use crate::error::{RootfsError, file};
use crate::not_shared::NotShared;

const TREE: &str = ".sharedroot-tree";
const WORK: &str = ".sharedroot-work";
const LOWER: &str = ".sharedroot-lower";

/// An attribute of the scratch directory: the inodes that the move itself changed, with their times.
const MOVED: &str = "trusted.sharedroot.moved";
/// How many bytes ext4 has room for in an attribute, with blocks of 4 KiB. If a base has more names at its top, each write-back
/// compares the others.
const MOST_MOVED: usize = 3_000;

impl Bases {
    /// Moves the tree of a new snapshot down, and makes an overlay of the tree.
    ///
    /// # Errors
    /// [`RootfsError`]; the caller must delete the snapshot then.
    pub(super) fn overlay_of_new(
        &self,
        snapshot: Detached,
        volume: &VolumeName,
        label: Option<&MountLabel>,
    ) -> Result<Detached, RootfsError> {
        move_down(&snapshot)?;
        self.overlay(snapshot, volume, &label.map(context).into_iter().collect::<Vec<_>>())
    }

    /// The root that the container of `note` had on its snapshot. None if the host ended before a new snapshot's tree had been
    /// moved: then nothing that the container did has reached the disk.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub(super) fn as_it_was(
        &self,
        snapshot: Detached,
        volume: &VolumeName,
        note: &Note,
    ) -> Result<Option<Detached>, RootfsError> {
        if !note.overlaid {
            return Ok(Some(snapshot));
        }
        match rustix::fs::statat(&snapshot, LOWER, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            found => found.map_err(at("stat", LOWER))?,
        };
        let label = note.label.as_deref().filter(|_| enabled());
        let options: Vec<_> =
            label.map(|label| Setting::Value("context", label)).into_iter().collect();
        self.overlay(snapshot, volume, &options).map(Some)
    }

    /// Makes an overlay. It takes its directories by paths, so this happens in a mount namespace that nobody else sees and that
    /// ends at once.
    fn overlay(
        &self,
        snapshot: Detached,
        volume: &VolumeName,
        options: &[Setting<'_>],
    ) -> Result<Detached, RootfsError> {
        let place = self.run_dir().join("snapshot");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&place);
        made.map_err(file("create", &place))?;
        let source = self.config().pool.name.device_of(volume);
        let [tree, work, lower] = [TREE, WORK, LOWER].map(|name| place.join(name));
        mount::apart(|| {
            let read_only = is_read_only(&snapshot)?;
            snapshot.attach(&place)?.keep();
            Ok(match read_only {
                true => mount::upper_read_only(&tree, &lower, options)?,
                false => {
                    let dirs = UpperDirs { upper: &tree, work: &work, lower: &lower };
                    mount::upper_alone(dirs, &source, options)?
                }
            })
        })?
    }
}

fn is_read_only(snapshot: &Detached) -> Result<bool, RootfsError> {
    let found = rustix::fs::fstatvfs(snapshot.as_fd()).map_err(at("measure", ""))?;
    Ok(found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// The inodes that the move changed in the snapshot's file system `top`. The container did not change them. Empty for a tree
/// that was not moved.
///
/// # Errors
/// [`RootfsError::File`].
pub(super) fn moved(top: impl AsFd) -> Result<Times, RootfsError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let work = match rustix::fs::openat(top, WORK, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Times::default()),
        work => work.map_err(at("open", WORK))?,
    };
    let mut bytes = [0; MOST_MOVED];
    let length = match rustix::fs::fgetxattr(&work, MOVED, &mut bytes) {
        Err(Errno::NODATA) => 0,
        length => length.map_err(at("read the attributes of", WORK))?,
    };
    Ok(Times::read(&bytes[..length]))
}

/// Records the change times that the move gave to `tree` and to everything directly in it. The container has not begun, so its
/// changes are later.
fn note_moved(tree: &File, top: &File) -> Result<(), RootfsError> {
    let mut moved = Times::default();
    let stat = |name: &CStr| rustix::fs::statat(tree, name, AtFlags::SYMLINK_NOFOLLOW);
    moved.add(&stat(c".").map_err(at("stat", TREE))?);
    for entry in Dir::read_from(tree).map_err(at("list", TREE))? {
        let entry = entry.map_err(at("list", TREE))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            moved.add(&stat(entry.file_name()).map_err(at("stat what is in", TREE))?);
        }
    }
    let bytes: Vec<_> =
        moved.write().into_iter().take(MOST_MOVED / Times::LENGTH).flatten().collect();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let work = rustix::fs::openat(top, WORK, flags, Mode::empty()).map_err(at("open", WORK))?;
    rustix::fs::fsetxattr(work, MOVED, &bytes, XattrFlags::CREATE)
        .map_err(at("set an attribute of", WORK))
}

/// Moves everything at the top into one directory there, which gets the top's attributes. A rename writes only directories: a
/// few blocks of the pool.
fn move_down(snapshot: &Detached) -> Result<(), RootfsError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |name: &'static str| {
        rustix::fs::openat(snapshot, name, flags, Mode::empty()).map(File::from)
    };
    let top = open(".").map_err(at("open", ""))?;
    let found = top.metadata().map_err(file("stat", Path::new("the top of a snapshot")))?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&top).map_err(at("list", ""))? {
        let entry = entry.map_err(at("list", ""))?;
        let name = entry.file_name();
        if let Some(name) =
            [TREE, WORK, LOWER].into_iter().find(|ours| name.to_bytes() == ours.as_bytes())
        {
            return Err(NotShared::NameTaken { name }.into());
        }
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
        }
    }
    let make = |name: &'static str| {
        rustix::fs::mkdirat(&top, name, Mode::from_raw_mode(0o700)).map_err(at("make", name))
    };
    make(TREE)?;
    make(WORK)?;
    let tree = open(TREE).map_err(at("open", TREE))?;
    for name in names {
        rustix::fs::renameat(&top, &name, &tree, &name).map_err(at("move into", TREE))?;
    }
    let times = || {
        copy(&top, &tree)?;
        let (accessed, modified) = (found.accessed()?, found.modified()?);
        tree.set_times(FileTimes::new().set_accessed(accessed).set_modified(modified))
    };
    times().map_err(file("copy the attributes of the top to", Path::new(TREE)))?;
    note_moved(&tree, &top)?;
    make(LOWER)
}

/// An error of a name at the top of a snapshot.
fn at(step: &'static str, name: &'static str) -> impl FnOnce(Errno) -> RootfsError {
    move |errno| file(step, &Path::new("the top of a snapshot").join(name))(errno.into())
}
