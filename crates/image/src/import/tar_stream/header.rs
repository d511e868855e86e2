//! A header of a tar, read as Go's archive/tar reads it (reader.go, `readHeader`; format.go), because the engines do: the same
//! layer must not be two trees. A field of another form is an error, also a field that a pax record replaces.

use std::ops::Range;

use super::blocks::BLOCK;
use super::number::{octal, of_header, text};

/// A regular file; a directory if its name ends with a slash. The form of tars of Version 7 Unix.
pub(super) const OLD_FILE: u8 = 0;
pub(super) const FILE: u8 = b'0';
pub(super) const HARD_LINK: u8 = b'1';
pub(super) const SYMLINK: u8 = b'2';
pub(super) const CHARACTER: u8 = b'3';
pub(super) const BLOCK_DEVICE: u8 = b'4';
pub(super) const DIRECTORY: u8 = b'5';
pub(super) const FIFO: u8 = b'6';
/// POSIX has a reader take it for a regular file.
pub(super) const CONTIGUOUS_FILE: u8 = b'7';
/// GNU's old form of a sparse file.
pub(super) const SPARSE_FILE: u8 = b'S';
/// The pax records of the next entry.
pub(super) const PAX: u8 = b'x';
/// The pax records of all later entries.
pub(super) const GLOBAL_PAX: u8 = b'g';
/// GNU's form of a long name of the next entry.
pub(super) const LONG_NAME: u8 = b'L';
/// GNU's form of a long target of the next entry.
pub(super) const LONG_LINK: u8 = b'K';

const SIZE: Range<usize> = 124..136;
const CHECKSUM: Range<usize> = 148..156;
/// Behind the magic, up to the times of access and of change.
const PREFIX: Range<usize> = 345..500;
const STAR_PREFIX: Range<usize> = 345..476;

/// Which fields the header has behind those of Version 7 Unix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// None.
    V7,
    /// POSIX's, also with pax records.
    Ustar,
    /// Schily's old one.
    Star,
    Gnu,
}

/// The fields of a header.
#[derive(Debug)]
pub(super) struct Header {
    /// The whole header.
    pub(super) block: [u8; BLOCK],
    pub(super) format: Format,
    /// The letter of its type.
    pub(super) letter: u8,
    /// With the prefix.
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    /// How many bytes follow, if entries of this type have content.
    pub(super) size: u64,
    /// As the number in the header; only the lowest 12 bits have a meaning.
    pub(super) mode: i64,
    pub(super) uid: i64,
    pub(super) gid: i64,
    /// In seconds since the epoch.
    pub(super) mtime: i64,
    pub(super) major: i64,
    pub(super) minor: i64,
}

impl Header {
    /// # Errors
    /// What is wrong with the header.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, String> {
        check_sum(block)?;
        let number = |what: &str, field: Range<usize>| {
            of_header(&block[field]).ok_or_else(|| format!("its {what} is no number"))
        };
        let (letter, format) = (block[156], Format::of(block));
        let size = number("size", SIZE)?;
        let (mut major, mut minor) = (0, 0);
        if format != Format::V7 {
            major = number("major number", 329..337)?;
            minor = number("minor number", 337..345)?;
        }
        let prefix = prefix(block, format)?;
        let slash: &[u8] = if prefix.is_empty() { b"" } else { b"/" };
        Ok(Self {
            block: *block,
            format,
            letter,
            name: [prefix, slash, text(&block[..100])].concat(),
            link: text(&block[157..257]).to_vec(),
            size: content(letter, size)?,
            mode: number("mode", 100..108)?,
            uid: number("user", 108..116)?,
            gid: number("group", 116..124)?,
            mtime: number("time", 136..148)?,
            major,
            minor,
        })
    }
}

/// How many bytes follow the header of an entry of this type that says `size`. Links, devices, directories and FIFOs have no
/// content, whatever they say (common.go, `isHeaderOnlyType`).
pub(super) fn content(letter: u8, size: i64) -> Result<u64, String> {
    if (HARD_LINK..=FIFO).contains(&letter) {
        return Ok(0);
    }
    u64::try_from(size).map_err(|_| format!("its size is {size}"))
}

impl Format {
    /// Go asks for the version of GNU's format only, and so do the tars of others.
    fn of(block: &[u8; BLOCK]) -> Self {
        match (&block[257..263], &block[263..265], &block[508..]) {
            (b"ustar\0", _, b"tar\0") => Self::Star,
            (b"ustar\0", ..) => Self::Ustar,
            (b"ustar ", b" \0", _) => Self::Gnu,
            _ => Self::V7,
        }
    }
}

/// The directories of the name, if the field for the name had no room for them.
fn prefix(block: &[u8; BLOCK], format: Format) -> Result<&[u8], String> {
    match format {
        Format::V7 => Ok(b""),
        Format::Ustar => Ok(text(&block[PREFIX])),
        Format::Star => {
            let times = [&block[476..488], &block[488..500]];
            match times.iter().all(|time| of_header(time).is_some()) {
                true => Ok(text(&block[STAR_PREFIX])),
                false => Err("one of its times is no number".to_owned()),
            }
        }
        // GNU's format has times there. Go before 1.8 wrote a prefix over them (golang.org/issue/12594, 21005).
        Format::Gnu => {
            let is_time = |field: &[u8]| field[0] == 0 || of_header(field).is_some();
            let has_times = is_time(&block[345..357]) && is_time(&block[357..369]);
            Ok(Some(text(&block[PREFIX])).filter(|p| !has_times && p.is_ascii()).unwrap_or(b""))
        }
    }
}

/// Sun's tar added signed bytes.
fn check_sum(block: &[u8; BLOCK]) -> Result<(), String> {
    let said = octal(&block[CHECKSUM]).ok_or("its checksum is no number")?;
    let (mut unsigned, mut signed) = (0, 0);
    for (n, byte) in block.iter().enumerate() {
        let byte = if CHECKSUM.contains(&n) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    if said != unsigned && said != signed {
        return Err("its checksum is wrong".to_owned());
    }
    Ok(())
}
