//! The content of a file in a tar, and the three forms of a sparse file (GNU tar manual, "Storing Sparse Files").

use std::io::{self, Read};

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::blocks::{BLOCK, Blocks, LONGEST_FILE};
use super::error::TarError;
use super::pax::{Extent, Map, Pax};

/// The most extents of one sparse file: they take 16 MiB of memory.
const MOST_EXTENTS: usize = 1 << 20;

const NO_SIZE: &str = "a sparse file without a size";
const TOO_MANY: &str = "a sparse file of too many extents";

/// The length of a file, and where its stored bytes belong.
#[derive(Default)]
pub(super) struct Content {
    /// The length of the file, in bytes.
    pub(super) size: u64,
    /// Where the stored bytes belong in the file, in ascending order; none if the file has no holes.
    pub(super) extents: Option<Vec<Extent>>,
}

/// The content of the entry that begins with `header` and has `stored` bytes.
pub(super) fn content<R: Read>(
    blocks: &mut Blocks<R>,
    header: &Header,
    stored: u64,
    pax: &mut Pax,
) -> Result<Content, TarError> {
    let (size, extents) = if header.entry_type() == EntryType::GNUSparse {
        gnu_extents(blocks, header)?
    } else if let Some((map, size)) = pax.sparse.map() {
        let size = size.ok_or_else(|| blocks.wrong(NO_SIZE))?;
        match map {
            Map::Here(extents) => (size, extents),
            Map::BeforeContent => (size, pax_extents(blocks)?),
        }
    } else {
        return Ok(Content { size: stored, extents: None });
    };
    if size > LONGEST_FILE {
        return Err(blocks.wrong(format!("a sparse file of {size} bytes, which no file can have")));
    }
    let (mut end, mut total) = (0_u64, 0_u64);
    for &Extent { offset, length } in &extents {
        let fits = offset >= end && offset.checked_add(length).is_some_and(|end| end <= size);
        if !fits {
            return Err(
                blocks.wrong("a sparse file whose extents overlap or lie outside of the file")
            );
        }
        (end, total) = (offset + length, total + length);
    }
    if total != blocks.left() {
        return Err(
            blocks.wrong("a sparse file whose extents have another length than what is stored")
        );
    }
    Ok(Content { size, extents: Some(extents) })
}

/// GNU's old form: the map is in the header and in blocks behind the header, which do not count as content.
fn gnu_extents<R: Read>(
    blocks: &mut Blocks<R>,
    header: &Header,
) -> Result<(u64, Vec<Extent>), TarError> {
    let gnu = header.as_gnu().ok_or_else(|| blocks.wrong("a sparse file without a map"))?;
    let mut extents = Vec::new();
    let mut add = |all: &[tar::GnuSparseHeader]| -> io::Result<()> {
        for extent in all.iter().filter(|extent| !extent.is_empty()) {
            extents.push(Extent { offset: extent.offset()?, length: extent.length()? });
        }
        if extents.len() > MOST_EXTENTS {
            return Err(io::Error::other(TOO_MANY));
        }
        Ok(())
    };
    add(&gnu.sparse).map_err(|error| blocks.wrong(error))?;
    let mut extended = gnu.is_extended();
    while extended {
        let mut more = GnuExtSparseHeader::new();
        blocks.exactly(more.as_mut_bytes())?;
        add(more.sparse()).map_err(|error| blocks.wrong(error))?;
        extended = more.is_extended();
    }
    let size = gnu.real_size().map_err(|error| blocks.wrong(error))?;
    Ok((size, extents))
}

/// pax's form 1.0: the map stands before the data, as decimal numbers in lines, in whole blocks.
fn pax_extents<R: Read>(blocks: &mut Blocks<R>) -> Result<Vec<Extent>, TarError> {
    let (mut block, mut unread) = ([0; BLOCK], 0);
    let mut number = |blocks: &mut Blocks<R>| -> Result<u64, TarError> {
        let mut digits = Vec::new();
        loop {
            if unread == 0 {
                let n = blocks.read(&mut block)?;
                if n < BLOCK {
                    return Err(blocks.wrong("a sparse file whose map ends early"));
                }
                unread = BLOCK;
            }
            let byte = block[BLOCK - unread];
            unread -= 1;
            match byte {
                b'\n' => break,
                b'0'..=b'9' if digits.len() < 20 => digits.push(byte),
                _ => return Err(blocks.wrong("a sparse file whose map is no list of numbers")),
            }
        }
        let text = String::from_utf8_lossy(&digits);
        text.parse().map_err(|_| blocks.wrong("a sparse file whose map lacks a number"))
    };
    let count = number(blocks)?;
    if count > MOST_EXTENTS as u64 {
        return Err(blocks.wrong(TOO_MANY));
    }
    (0..count).map(|_| Ok(Extent { offset: number(blocks)?, length: number(blocks)? })).collect()
}
