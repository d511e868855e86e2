//! Unpacks the tar of one layer into a directory in overlay's form: a whiteout is a character device 0:0, and a directory that
//! hides the lower layers has an attribute. So these layers stack as an engine's layers do, and make the same base.
//!
//! Anybody may have written the tar. The kernel resolves every name beneath the root of the layer, as in a chroot, and never
//! follows the last component. Where the image-spec leaves a choice, the choice is that of Docker's overlay2 driver, because
//! Docker's containers use the base: a symbolic link of a lower layer is not followed, and an entry replaces what the layer had
//! under its name. docs/images.md lists where Docker's tree is another one; a directory without an entry of its own has the
//! metadata of the lower layers, as with containerd.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::beneath::{self, clean, os};
use super::directory_times::DirectoryTimes;
use super::lower_layers::LowerLayers;
use super::metadata::apply_metadata;
use super::room::NAME_COST;
use super::tar_stream::{Archive, Entry, EntryKind};
use super::unpack_error::{UnpackError, failed, invalid};
use super::unpacker::{Location, Unpacker};

/// What the name of a whiteout begins with (image-spec, layer.md, "Whiteouts").
const WHITEOUT: &[u8] = b".wh.";

/// Fills the empty directory `path` with a layer; `lower` has the layers below it. Returns the open directory.
pub(super) fn unpack<R: Read>(
    archive: &mut Archive<R>,
    path: &Path,
    lower: &mut LowerLayers,
) -> Result<OwnedFd, UnpackError> {
    let failed =
        |step| move |source: io::Error| UnpackError::Entry { path: "/".into(), step, source };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| failed("open the layer's directory")(errno.into()))?;
    let times =
        DirectoryTimes::in_directory(root.as_fd()).map_err(failed("make a file for times"))?;
    let mut unpacker = Unpacker::new(root, path, lower, times);
    while let Some(entry) = archive.next()? {
        unpacker.entry(archive, &entry)?;
    }
    let Unpacker { root, times, .. } = unpacker;
    times.set_all(root.as_fd()).map_err(failed("set the times of directories"))?;
    Ok(root)
}

impl Unpacker<'_> {
    fn entry<R: Read>(
        &mut self,
        archive: &mut Archive<R>,
        entry: &Entry,
    ) -> Result<(), UnpackError> {
        self.lower.allowance.add(entry)?;
        self.lower.allowance.add_parts(entry)?;
        refuse_overlay_commands(entry)?;
        // A file system that takes large attributes gives whole blocks to each of them.
        let attributes =
            entry.xattrs.iter().map(|(_, value)| (value.len() as u64).next_multiple_of(4096));
        self.check_space(entry, NAME_COST + attributes.sum::<u64>())?;
        let names = clean(&entry.path);
        let Some((&name, above)) = names.split_last() else {
            // The base has an owner, mode and times of its own for the root, whatever a layer says.
            return match entry.kind {
                EntryKind::Directory => Ok(()),
                _ => Err(invalid(entry, "is the root of the layer, but no directory")),
            };
        };
        if name == b".wh..wh..opq" {
            return self.mark_opaque(entry, above);
        }
        if name.starts_with(b".wh..wh.") {
            return Ok(()); // a file of aufs's own, without a meaning for other file systems
        }
        if let Some(gone) = name.strip_prefix(WHITEOUT) {
            return match gone {
                b"" | b"." | b".." => Err(invalid(entry, "is a whiteout without a name")),
                gone => self.whiteout(entry, above, gone),
            };
        }
        let dir = self.parent(entry, above)?;
        let place = Location { dir, name: os(name) };
        if entry.kind == EntryKind::Character(0, 0) {
            // The form of whiteouts in an engine's layer. It is an entry like any other: what this layer had goes.
            let there = beneath::look(&place.dir, place.name);
            if there.map_err(failed(entry, "look at the file that has its name"))?.is_some() {
                self.remove_existing(entry, &place)?;
            }
            return self.whiteout(entry, above, name);
        }
        match &entry.kind {
            EntryKind::Directory => return self.directory(entry, &place),
            EntryKind::HardLink(target) => return self.hard_link(entry, &place, target),
            EntryKind::File => return self.regular_file(archive, entry, &place),
            EntryKind::Symlink(target) => {
                self.lower.looks.note_target(target);
                self.create(entry, &place, "make the symbolic link", |place| {
                    rustix::fs::symlinkat(os(target), &place.dir, place.name)
                })?;
            }
            EntryKind::Fifo => self.node(entry, &place, FileType::Fifo, 0)?,
            EntryKind::Character(major, minor) => {
                let device = rustix::fs::makedev(*major, *minor);
                self.node(entry, &place, FileType::CharacterDevice, device)?;
            }
            EntryKind::Block(major, minor) => {
                let device = rustix::fs::makedev(*major, *minor);
                self.node(entry, &place, FileType::BlockDevice, device)?;
            }
        }
        apply_metadata(entry, &place.dir, place.name)
    }

    /// Makes a directory, or gives its metadata to the one that is there.
    fn directory(&mut self, entry: &Entry, place: &Location<'_>) -> Result<(), UnpackError> {
        self.check_depth(entry, place.dir.as_fd())?;
        let mode = Mode::from_raw_mode(0o700);
        let mut replaces_whiteout = false;
        match rustix::fs::mkdirat(&place.dir, place.name, mode) {
            Err(Errno::EXIST) => {
                let there = beneath::look(&place.dir, place.name)
                    .map_err(failed(entry, "look at the file that has its name"))?;
                let there = there.filter(|stat| !beneath::is_dir(stat));
                if let Some(there) = there {
                    replaces_whiteout = beneath::is_whiteout(&there);
                    self.remove_existing(entry, place)?;
                    rustix::fs::mkdirat(&place.dir, place.name, mode)
                        .map_err(failed(entry, "make the directory"))?;
                }
            }
            made => made.map_err(failed(entry, "make the directory"))?,
        }
        let dir = beneath::exactly(place.dir.as_fd(), Path::new(place.name), OFlags::PATH)
            .map_err(failed(entry, "open the directory"))?;
        if replaces_whiteout {
            self.make_opaque(entry, dir.as_fd())?;
        }
        apply_metadata(entry, &place.dir, place.name)?;
        self.note_mtime(entry, dir.as_fd())
    }

    /// Makes a FIFO or a device.
    fn node(
        &mut self,
        entry: &Entry,
        place: &Location<'_>,
        kind: FileType,
        device: u64,
    ) -> Result<(), UnpackError> {
        let mode = Mode::from_raw_mode(0o600);
        self.create(entry, place, "make the special file", |place| {
            rustix::fs::mknodat(&place.dir, place.name, kind, mode, device)
        })
    }
}

/// Overlay takes these attributes of a layer for commands: Docker's overlay would show other files than the layer says.
fn refuse_overlay_commands(entry: &Entry) -> Result<(), UnpackError> {
    let is_command = |name: &[u8]| {
        let name = name.strip_prefix(b"trusted.overlay.").unwrap_or_default();
        matches!(name, b"opaque" | b"redirect" | b"metacopy" | b"whiteout" | b"whiteouts")
    };
    match entry.xattrs.iter().find(|(name, _)| is_command(name)) {
        None => Ok(()),
        Some((name, _)) => Err(invalid(
            entry,
            format!("has the attribute {}, a command to overlay", name.escape_ascii()),
        )),
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
