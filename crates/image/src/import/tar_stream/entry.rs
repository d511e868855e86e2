//! One entry of a tar, from its header and the pax records before it.

use std::io::Read;

use sharedroot_format::base::TIMES;

use super::blocks::Blocks;
use super::error::TarError;
use super::header::{self, Header};
use super::pax::{Extent, Pax, Sparse, Time};
use super::sparse;

/// The largest numbers of a device in Linux (include/linux/kdev_t.h). Go's programs cut larger ones off, each in its own way.
const LARGEST_MAJOR: u32 = 0xfff;
const LARGEST_MINOR: u32 = 0xf_ffff;

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
    /// The entry of `header`. Where what stands before the header contradicts it, the order is that of Go's archive/tar
    /// (reader.go, `next`), which the engines use: the same layer must not be two trees.
    pub(super) fn entry<R: Read>(
        self,
        blocks: &mut Blocks<R>,
        header: &Header,
    ) -> Result<Entry, TarError> {
        let (mut entry, stored, sparse) =
            self.describe(header).map_err(|what| blocks.wrong(what))?;
        blocks.begin(stored)?;
        let is_old_form = header.letter == header::SPARSE_FILE;
        if entry.kind == EntryKind::File {
            let content = match sparse {
                _ if is_old_form => sparse::old_form(blocks, header)?,
                Some(sparse) => sparse::pax_form(blocks, sparse)?,
                None => sparse::Content { size: stored, extents: None },
            };
            (entry.size, entry.extents) = (content.size, content.extents);
        }
        Ok(entry)
    }

    /// The entry without the length of its file, how many bytes of content follow, and what the records say of a sparse file.
    fn describe(self, header: &Header) -> Result<(Entry, u64, Option<Sparse>), String> {
        let Self { pax, long_name, long_link } = self;
        let value = |key| pax.get(key).map(<[u8]>::to_vec);
        let mut path = long_name.or_else(|| value("path")).unwrap_or_else(|| header.name.clone());
        let link = long_link.or_else(|| value("linkpath")).unwrap_or_else(|| header.link.clone());
        let kind = kind(header, &path, link)?;
        let letter = if kind == EntryKind::Directory { header::DIRECTORY } else { header.letter };
        let stored = match pax.number("size")? {
            Some(size) => header::content(letter, size)?,
            None if kind == EntryKind::Directory => 0,
            None => header.size,
        };
        let sparse = if header.letter == header::SPARSE_FILE { None } else { pax.sparse()? };
        if let Some(sparse) = &sparse {
            if kind != EntryKind::File {
                return Err("a sparse file that is no file".to_owned());
            }
            path = sparse.name.clone().unwrap_or(path);
        }
        for name in [Some(&path), target(&kind)].into_iter().flatten() {
            if name.contains(&0) {
                return Err("a name has a NUL byte in it".to_owned());
            }
        }
        for key in ["atime", "ctime"] {
            pax.time(key)?;
        }
        let entry = Entry {
            path,
            kind,
            // The cast keeps the lowest bits, which are the permissions.
            mode: (header.mode & 0o7777) as u32,
            uid: owner(pax.number("uid")?.unwrap_or(header.uid))?,
            gid: owner(pax.number("gid")?.unwrap_or(header.gid))?,
            mtime: mtime(header, &pax)?,
            xattrs: pax.xattrs(),
            size: 0,
            extents: None,
        };
        Ok((entry, stored, sparse))
    }
}

/// The type of the entry. `link` is the target that it names.
fn kind(header: &Header, path: &[u8], link: Vec<u8>) -> Result<EntryKind, String> {
    let device = || {
        let number = |of: i64, largest| u32::try_from(of).ok().filter(|number| *number <= largest);
        let (major, minor) = (header.major, header.minor);
        number(major, LARGEST_MAJOR)
            .zip(number(minor, LARGEST_MINOR))
            .ok_or_else(|| format!("no device of Linux has the numbers {major}:{minor}"))
    };
    let linked = || match link.is_empty() {
        true => Err("a link without a target".to_owned()),
        false => Ok(link),
    };
    Ok(match header.letter {
        header::OLD_FILE if path.ends_with(b"/") => EntryKind::Directory,
        header::OLD_FILE | header::FILE | header::CONTIGUOUS_FILE | header::SPARSE_FILE => {
            EntryKind::File
        }
        header::DIRECTORY => EntryKind::Directory,
        header::HARD_LINK => EntryKind::HardLink(linked()?),
        header::SYMLINK => EntryKind::Symlink(linked()?),
        header::CHARACTER => {
            let (major, minor) = device()?;
            EntryKind::Character(major, minor)
        }
        header::BLOCK_DEVICE => {
            let (major, minor) = device()?;
            EntryKind::Block(major, minor)
        }
        header::FIFO => EntryKind::Fifo,
        other => return Err(format!("its type '{}' is not known", other.escape_ascii())),
    })
}

/// The number of a user or a group. chown(2) takes 2^32 - 1 for no change.
fn owner(number: i64) -> Result<u32, String> {
    let owner = u32::try_from(number).ok().filter(|owner| *owner != u32::MAX);
    owner.ok_or_else(|| format!("{number} is no number of a user or group"))
}

fn mtime(header: &Header, pax: &Pax) -> Result<Time, String> {
    let of_header = Time { seconds: header.mtime, nanoseconds: 0 };
    let mtime = pax.time("mtime")?.unwrap_or(of_header);
    if TIMES.contains(&mtime.seconds) {
        return Ok(mtime);
    }
    let seconds = mtime.seconds;
    Err(format!("a time {seconds} s after 1970, and ext4 keeps times from 1901 to 2446"))
}

fn target(kind: &EntryKind) -> Option<&Vec<u8>> {
    match kind {
        EntryKind::HardLink(target) | EntryKind::Symlink(target) => Some(target),
        _ => None,
    }
}
