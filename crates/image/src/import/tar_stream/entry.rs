//! One entry of a tar, from its header and the pax records before it.

use std::io::{self, Read};

use sharedroot_format::base::TIMES;
use tar::{EntryType, Header};

use super::blocks::Blocks;
use super::error::TarError;
use super::pax::{Extent, Pax, Time};
use super::sparse;

/// The type of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) enum EntryKind {
    Directory,
    File,
    /// With the name that it links to, in this layer or a lower one.
    HardLink(Vec<u8>),
    /// With its target.
    Symlink(Vec<u8>),
    /// With its major and minor number.
    Character(u32, u32),
    /// With its major and minor number.
    Block(u32, u32),
    Fifo,
}

/// The header of one entry, together with the pax records and long names before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::import) struct Entry {
    pub(in crate::import) path: Vec<u8>,
    pub(in crate::import) kind: EntryKind,
    /// The permission bits.
    pub(in crate::import) mode: u32,
    pub(in crate::import) uid: u32,
    pub(in crate::import) gid: u32,
    pub(in crate::import) mtime: Time,
    /// Names and values.
    pub(in crate::import) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The length of the file, in bytes.
    pub(in crate::import) size: u64,
    /// Where the stored bytes belong in the file, in ascending order; none if the file has no holes.
    pub(in crate::import) extents: Option<Vec<Extent>>,
}

/// What stands before a header and changes its meaning.
#[derive(Default)]
pub(super) struct Special {
    pub(super) pax: Pax,
    pub(super) long_name: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
}

impl Special {
    /// The entry of `header`, which says that `stored` bytes follow.
    pub(super) fn entry<R: Read>(
        self,
        blocks: &mut Blocks<R>,
        header: &Header,
        stored: u64,
    ) -> Result<Entry, TarError> {
        let Self { mut pax, long_name, long_link } = self;
        let stored = pax.size.unwrap_or(stored);
        // The order of Go's archive/tar, which the engines use: the same layer must not be two trees.
        let path = long_name.or_else(|| pax.path.take());
        let path = path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = long_link.or_else(|| pax.link.take());
        let link = link.or_else(|| header.link_name_bytes().map(|bytes| bytes.into_owned()));
        let kind = kind(blocks, header, &path, link)?;
        let path = match kind {
            EntryKind::File => pax.sparse_name(header).unwrap_or(path),
            _ => path,
        };
        let (uid, gid) = owner(blocks, header, &pax)?;
        let mtime = mtime(blocks, header, &pax)?;
        let mode = header.mode().map_err(|error| blocks.wrong(error))? & 0o7777;
        for name in [Some(&path), target(&kind)].into_iter().flatten() {
            if name.contains(&0) {
                return Err(blocks.wrong("a name has a NUL byte in it"));
            }
        }
        // Only a file has content, whatever the header of another type says: the rule of Go's archive/tar.
        let is_file = kind == EntryKind::File;
        blocks.begin(if is_file { stored } else { 0 })?;
        let content = if is_file {
            sparse::content(blocks, header, stored, &mut pax)?
        } else {
            sparse::Content::default()
        };
        let (size, extents) = (content.size, content.extents);
        Ok(Entry { path, kind, mode, uid, gid, mtime, xattrs: pax.xattrs, size, extents })
    }
}

/// The type of the entry. `link` is the target that it names, if it names one.
fn kind<R: Read>(
    blocks: &Blocks<R>,
    header: &Header,
    path: &[u8],
    link: Option<Vec<u8>>,
) -> Result<EntryKind, TarError> {
    let device = |of: io::Result<Option<u32>>| {
        let of = of.map_err(|error| blocks.wrong(error))?;
        of.ok_or_else(|| blocks.wrong("a device without numbers"))
    };
    let linked = || link.filter(|link| !link.is_empty());
    let no_target = || blocks.wrong("a link without a target");
    Ok(match header.entry_type() {
        // The form of tars of Version 7 Unix, whose type of a file is NUL.
        EntryType::Regular if header.as_old().linkflag == [0] && path.ends_with(b"/") => {
            EntryKind::Directory
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => EntryKind::File,
        EntryType::Directory => EntryKind::Directory,
        EntryType::Link => EntryKind::HardLink(linked().ok_or_else(no_target)?),
        EntryType::Symlink => EntryKind::Symlink(linked().ok_or_else(no_target)?),
        EntryType::Char => {
            EntryKind::Character(device(header.device_major())?, device(header.device_minor())?)
        }
        EntryType::Block => {
            EntryKind::Block(device(header.device_major())?, device(header.device_minor())?)
        }
        EntryType::Fifo => EntryKind::Fifo,
        other => {
            let letter = char::from(other.as_byte()).escape_default();
            return Err(blocks.wrong(format!("its type '{letter}' is not known")));
        }
    })
}

/// The user and the group. pax records win over the header.
fn owner<R: Read>(blocks: &Blocks<R>, header: &Header, pax: &Pax) -> Result<(u32, u32), TarError> {
    let number = |value: io::Result<u64>| {
        let value = value.map_err(|error| blocks.wrong(error))?;
        u32::try_from(value)
            .map_err(|_| blocks.wrong(format!("{value} is no number of a user or group")))
    };
    Ok((
        pax.uid.map_or_else(|| number(header.uid()), Ok)?,
        pax.gid.map_or_else(|| number(header.gid()), Ok)?,
    ))
}

fn mtime<R: Read>(blocks: &Blocks<R>, header: &Header, pax: &Pax) -> Result<Time, TarError> {
    let mtime = match pax.mtime {
        Some(mtime) => mtime,
        None => {
            let seconds = header.mtime().map_err(|error| blocks.wrong(error))?;
            // The numbers of GNU's base 256 are signed. The crate `tar` gives their bits as an unsigned number.
            Time { seconds: seconds.cast_signed(), nanoseconds: 0 }
        }
    };
    if TIMES.contains(&mtime.seconds) {
        return Ok(mtime);
    }
    Err(blocks.wrong(format!(
        "a time {} s after 1970, and ext4 keeps times from 1901 to 2446",
        mtime.seconds
    )))
}

fn target(kind: &EntryKind) -> Option<&Vec<u8>> {
    match kind {
        EntryKind::HardLink(target) | EntryKind::Symlink(target) => Some(target),
        _ => None,
    }
}
