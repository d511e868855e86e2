//! A tar stream, entry by entry, as an image's layer has it: ustar, pax, GNU's long names and sparse files.
//!
//! The headers' fields are the crate `tar`'s to read. What lies around them is ours: that crate takes names and pax records of
//! any length into memory, splits pax records at newlines (a name or an attribute may hold one), and knows no sparse files
//! of pax; and layers are written by strangers.

use std::io::{self, Read};

use sharedroot_format::base::TIMES;
use tar::{EntryType, GnuExtSparseHeader, Header};

use super::pax::{Pax, Time};

/// tar's own unit.
const BLOCK: usize = 512;
/// The longest pax header or GNU name, as Go's archive/tar has it, and so Docker and containerd.
const LONGEST_SPECIAL: u64 = 1 << 20;
/// The longest file: what a kernel counts a place in a file with (`loff_t`). Places in the archive then never overflow.
const LONGEST_FILE: u64 = i64::MAX as u64;
/// The most pieces of one sparse file: 16 MiB of our memory.
const MOST_PIECES: usize = 1 << 20;

/// A stream that is no tar, or not all of one.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It ends early, or cannot be read or decompressed.
    #[error("at byte {at} of its tar: {source}")]
    Read {
        /// How far it could be read.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// A header that means nothing.
    #[error("the tar header at byte {at}: {what}")]
    Header {
        /// Where.
        at: u64,
        /// What is wrong with it.
        what: String,
    },
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    HardLink(Vec<u8>),
    Symlink(Vec<u8>),
    Character(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// One entry's header, with everything that came before it for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The file's length.
    pub(super) size: u64,
    /// Where the stored bytes belong, if the file has holes: offset and length, ascending.
    pub(super) pieces: Option<Vec<(u64, u64)>>,
}

/// A tar that is read from its beginning to its end.
pub(super) struct Archive<R> {
    stream: R,
    /// Bytes read so far.
    at: u64,
    /// Bytes of the current entry that are not read yet.
    left: u64,
}

/// What precedes a header and changes it.
#[derive(Default)]
struct Special {
    pax: Pax,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Archive<R> {
    pub(super) fn new(stream: R) -> Self {
        Self::starting_at(stream, 0)
    }

    /// In the middle of a tar, where a header begins.
    pub(super) fn starting_at(stream: R, at: u64) -> Self {
        Self { stream, at, left: 0 }
    }

    pub(super) fn into_stream(self) -> R {
        self.stream
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Where what is left of the current entry ends.
    pub(super) fn end_of_entry(&self) -> u64 {
        // Both together are less than LONGEST_FILE: `entry` sees to it.
        self.at.saturating_add(self.left)
    }

    /// The next entry; what is left of the one before is passed over.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut special = Special::default();
        loop {
            self.skip()?;
            let Some(block) = self.header()? else { return Ok(None) };
            let header = Header::from_byte_slice(&block);
            let size = header.entry_size().map_err(|error| self.wrong(error))?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let text = self.special(size)?;
                    special.pax = Pax::parse(&text).map_err(|what| self.wrong(what))?;
                }
                // What is said for all later entries: no engine heeds it, and git writes its comments there.
                EntryType::XGlobalHeader => drop(self.special(size)?),
                EntryType::GNULongName => special.long_name = Some(self.long_name(size)?),
                EntryType::GNULongLink => special.long_link = Some(self.long_name(size)?),
                _ => return self.entry(header, size, special).map(Some),
            }
        }
    }

    /// The next bytes of the current entry, as they are stored; none at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let most = usize::try_from(self.left.min(buffer.len() as u64)).unwrap_or(buffer.len());
        let mut filled = 0;
        while filled < most {
            let read = self.stream.read(&mut buffer[filled..most]);
            let n = match read {
                Ok(0) => return Err(self.failed(io::ErrorKind::UnexpectedEof.into())),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(error)),
            };
            filled += n;
            self.at += n as u64;
        }
        self.left -= filled as u64;
        Ok(filled)
    }

    fn entry(&mut self, header: &Header, stored: u64, special: Special) -> Result<Entry, TarError> {
        let Special { mut pax, long_name, long_link } = special;
        let stored = pax.size.unwrap_or(stored);
        let path =
            pax.path.take().or(long_name).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax.link.take().or(long_link);
        let link = link.or_else(|| header.link_name_bytes().map(|bytes| bytes.into_owned()));
        let kind = self.kind(header, &path, link)?;
        let number = |value: io::Result<u64>| {
            let value = value.map_err(|error| self.wrong(error))?;
            u32::try_from(value).map_err(|_| self.wrong(format!("{value} is no user or group")))
        };
        let (uid, gid) = match (pax.uid, pax.gid) {
            (Some(uid), Some(gid)) => (uid, gid),
            (uid, gid) => (
                uid.map_or_else(|| number(header.uid()), Ok)?,
                gid.map_or_else(|| number(header.gid()), Ok)?,
            ),
        };
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => {
                let seconds = header.mtime().map_err(|error| self.wrong(error))?;
                // GNU's base-256 numbers are signed; the crate hands the bits on.
                Time { seconds: seconds.cast_signed(), nanoseconds: 0 }
            }
        };
        if !TIMES.contains(&mtime.seconds) {
            return Err(self.wrong(format!(
                "a time {} s after 1970, and ext4 keeps those from 1901 to 2446",
                mtime.seconds
            )));
        }
        let mode = header.mode().map_err(|error| self.wrong(error))? & 0o7777;
        for name in [Some(&path), target(&kind)].into_iter().flatten() {
            if name.contains(&0) {
                return Err(self.wrong("a name with a NUL byte"));
            }
        }
        // As Go's archive/tar has it: only a file has content, whatever the size of another says.
        self.left = if kind == Kind::File { stored } else { 0 };
        if self.at.checked_add(self.left).is_none_or(|end| end > LONGEST_FILE) {
            return Err(self.wrong(format!("{stored} bytes, which no file can have")));
        }
        let (size, pieces) = match kind {
            Kind::File => self.holes(header, stored, &mut pax)?,
            _ => (0, None),
        };
        let xattrs = pax.xattrs;
        Ok(Entry { path, kind, mode, uid, gid, mtime, xattrs, size, pieces })
    }

    /// What the entry is. `link` is the target that it names, if it names one.
    fn kind(&self, header: &Header, path: &[u8], link: Option<Vec<u8>>) -> Result<Kind, TarError> {
        let device = |of: io::Result<Option<u32>>| {
            let of = of.map_err(|error| self.wrong(error))?;
            of.ok_or_else(|| self.wrong("a device without numbers"))
        };
        let linked = || link.filter(|link| !link.is_empty());
        let no_target = || self.wrong("a link to nothing");
        Ok(match header.entry_type() {
            // As V7 wrote directories.
            EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Link => Kind::HardLink(linked().ok_or_else(no_target)?),
            EntryType::Symlink => Kind::Symlink(linked().ok_or_else(no_target)?),
            EntryType::Char => {
                Kind::Character(device(header.device_major())?, device(header.device_minor())?)
            }
            EntryType::Block => {
                Kind::Block(device(header.device_major())?, device(header.device_minor())?)
            }
            EntryType::Fifo => Kind::Fifo,
            other => {
                let letter = char::from(other.as_byte()).escape_default();
                return Err(self.wrong(format!("its type '{letter}' is not known")));
            }
        })
    }

    /// The length of a file, and where its stored bytes belong if it is sparse.
    #[expect(clippy::type_complexity, reason = "said once, taken apart at once")]
    fn holes(
        &mut self,
        header: &Header,
        stored: u64,
        pax: &mut Pax,
    ) -> Result<(u64, Option<Vec<(u64, u64)>>), TarError> {
        let (size, pieces) = if header.entry_type() == EntryType::GNUSparse {
            self.gnu_pieces(header)?
        } else if pax.sparse_major == Some(1) {
            let size = pax.real_size.ok_or_else(|| self.wrong("a sparse file without a size"))?;
            (size, self.pax_pieces()?)
        } else if let Some(pieces) = pax.pieces.take() {
            let size = pax.real_size.ok_or_else(|| self.wrong("a sparse file without a size"))?;
            (size, pieces)
        } else {
            return Ok((stored, None));
        };
        if size > LONGEST_FILE {
            return Err(self.wrong(format!("a sparse file of {size} bytes, which none can have")));
        }
        let (mut end, mut total) = (0_u64, 0_u64);
        for &(offset, length) in &pieces {
            let fits = offset >= end && offset.checked_add(length).is_some_and(|end| end <= size);
            if !fits {
                return Err(self.wrong("a sparse file whose pieces overlap or lie outside of it"));
            }
            (end, total) = (offset + length, total + length);
        }
        if total != self.left {
            return Err(self.wrong("a sparse file whose pieces are not what is stored"));
        }
        Ok((size, Some(pieces)))
    }

    /// GNU's old form: the map is in the header, and in blocks behind it that count for nothing.
    fn gnu_pieces(&mut self, header: &Header) -> Result<(u64, Vec<(u64, u64)>), TarError> {
        let gnu = header.as_gnu().ok_or_else(|| self.wrong("a sparse file without a map"))?;
        let mut pieces = Vec::new();
        let mut add = |all: &[tar::GnuSparseHeader]| -> io::Result<()> {
            for piece in all.iter().filter(|piece| !piece.is_empty()) {
                pieces.push((piece.offset()?, piece.length()?));
            }
            if pieces.len() > MOST_PIECES {
                return Err(io::Error::other("a sparse file of too many pieces"));
            }
            Ok(())
        };
        add(&gnu.sparse).map_err(|error| self.wrong(error))?;
        let mut extended = gnu.is_extended();
        while extended {
            let mut more = GnuExtSparseHeader::new();
            self.exactly(more.as_mut_bytes())?;
            add(more.sparse()).map_err(|error| self.wrong(error))?;
            extended = more.is_extended();
        }
        let size = gnu.real_size().map_err(|error| self.wrong(error))?;
        Ok((size, pieces))
    }

    /// pax's form 1.0: the map stands before the data, as decimal lines in whole blocks.
    fn pax_pieces(&mut self) -> Result<Vec<(u64, u64)>, TarError> {
        let (mut block, mut unread) = ([0; BLOCK], 0);
        let mut number = |archive: &mut Self| -> Result<u64, TarError> {
            let mut digits = Vec::new();
            loop {
                if unread == 0 {
                    let n = archive.read(&mut block)?;
                    if n < BLOCK {
                        return Err(archive.wrong("a sparse file whose map ends early"));
                    }
                    unread = BLOCK;
                }
                let byte = block[BLOCK - unread];
                unread -= 1;
                match byte {
                    b'\n' => break,
                    b'0'..=b'9' if digits.len() < 20 => digits.push(byte),
                    _ => return Err(archive.wrong("a sparse file whose map is no list of numbers")),
                }
            }
            let text = String::from_utf8_lossy(&digits);
            text.parse().map_err(|_| archive.wrong("a sparse file whose map lacks a number"))
        };
        let count = number(self)?;
        if count > MOST_PIECES as u64 {
            return Err(self.wrong("a sparse file of too many pieces"));
        }
        (0..count).map(|_| Ok((number(self)?, number(self)?))).collect()
    }

    /// A header, or none at the end: two blocks of zeros, or nothing more at all.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        if !self.block_or_end(&mut block)? {
            return Ok(None);
        }
        if block == [0; BLOCK] {
            let more = self.block_or_end(&mut block)?;
            if more && block != [0; BLOCK] {
                return Err(self.wrong("a block of zeros before it"));
            }
            return Ok(None);
        }
        let sums = |signed: bool| {
            let bytes = block.iter().enumerate().map(|(i, &byte)| match (i, signed) {
                (148..156, _) => i64::from(b' '),
                (_, false) => i64::from(byte),
                (_, true) => i64::from(byte.cast_signed()),
            });
            bytes.sum::<i64>()
        };
        let said = Header::from_byte_slice(&block).cksum().map_err(|error| self.wrong(error))?;
        if ![sums(false), sums(true)].contains(&i64::from(said)) {
            return Err(self.wrong("its checksum is wrong"));
        }
        Ok(Some(block))
    }

    /// Whether there is a whole block more; a part of one is an error.
    fn block_or_end(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        let n = loop {
            match self.stream.read(block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
                Ok(n) => break n,
            }
        };
        self.at += n as u64;
        if n > 0 {
            self.exactly(&mut block[n..])?;
        }
        Ok(n > 0)
    }

    /// The content of an entry that is about the next one.
    fn special(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > LONGEST_SPECIAL {
            return Err(self.wrong(format!("{size} bytes of names and attributes")));
        }
        let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
        self.left = size;
        self.exactly(&mut content)?;
        self.left = 0;
        self.pad()?;
        Ok(content)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        let mut name = self.special(size)?;
        name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        self.stream.read_exact(buffer).map_err(|error| self.failed(error))?;
        self.at += buffer.len() as u64;
        Ok(())
    }

    /// Passes over what is left of the entry, and over the rest of its last block.
    fn skip(&mut self) -> Result<(), TarError> {
        let mut sink = [0; 16 << 10];
        while self.left > 0 {
            self.read(&mut sink)?;
        }
        self.pad()
    }

    /// Passes over the rest of the current block.
    fn pad(&mut self) -> Result<(), TarError> {
        let rest = self.at.next_multiple_of(BLOCK as u64) - self.at;
        let mut block = [0; BLOCK];
        self.exactly(&mut block[..usize::try_from(rest).unwrap_or(0)])
    }

    fn failed(&self, source: io::Error) -> TarError {
        TarError::Read { at: self.at, source }
    }

    fn wrong(&self, what: impl ToString) -> TarError {
        // Some words quote the header, which may be any text.
        let what = what.to_string().lines().next().unwrap_or_default().chars().take(100).collect();
        TarError::Header { at: self.at.saturating_sub(BLOCK as u64), what }
    }
}

fn target(kind: &Kind) -> Option<&Vec<u8>> {
    match kind {
        Kind::HardLink(target) | Kind::Symlink(target) => Some(target),
        _ => None,
    }
}
