//! The content of a sparse file in a tar, in its three forms (GNU tar manual, "Storing Sparse Files"), read as Go's archive/tar
//! reads them (reader.go, `handleSparseFile`).

use std::io::Read;

use super::blocks::{BLOCK, Blocks};
use super::error::TarError;
use super::header::{Format, Header};
use super::number::{decimal, of_header};
use super::pax::{Extent, Map, Sparse};

/// The most extents of one sparse file: they take 16 MiB of memory. Also the bound of Go's archive/tar.
const MOST_EXTENTS: usize = 1 << 20;
/// The most digits of a number in the map of the form 1.0.
const MOST_DIGITS: usize = 20;
/// How many bytes GNU's old form has for an extent: two numbers.
const OLD_EXTENT: usize = 24;

const TOO_MANY: &str = "a sparse file of too many extents";

/// The length of a file, and where its stored bytes belong.
pub(super) struct Content {
    /// The length of the file, in bytes.
    pub(super) size: u64,
    /// Where the stored bytes belong in the file, in ascending order; none if the file has no holes.
    pub(super) extents: Option<Vec<Extent>>,
}

/// GNU's old form: the map is in the header and in blocks behind the header, which do not count as content.
pub(super) fn old_form<R: Read>(
    blocks: &mut Blocks<R>,
    header: &Header,
) -> Result<Content, TarError> {
    if header.format != Format::Gnu {
        return Err(blocks.wrong("a sparse file without a map"));
    }
    let mut extents = Vec::new();
    let mut add = |map: &[u8]| -> Result<(), &str> {
        // A part of the map ends with the first extent whose offset begins with a NUL.
        for extent in map.chunks_exact(OLD_EXTENT).take_while(|extent| extent[0] != 0) {
            let number = |field| of_header(field).and_then(|number| u64::try_from(number).ok());
            let (offset, length) = extent.split_at(OLD_EXTENT / 2);
            let (offset, length) = number(offset)
                .zip(number(length))
                .ok_or("a sparse file whose map is no list of numbers")?;
            extents.push(Extent { offset, length });
        }
        if extents.len() > MOST_EXTENTS { Err(TOO_MANY) } else { Ok(()) }
    };
    add(&header.block[386..482]).map_err(|what| blocks.wrong(what))?;
    let mut goes_on = header.block[482] > 0;
    while goes_on {
        let mut more = [0; BLOCK];
        blocks.exactly(&mut more)?;
        add(&more[..504]).map_err(|what| blocks.wrong(what))?;
        goes_on = more[504] > 0;
    }
    let size = of_header(&header.block[483..495]);
    content(blocks, size.unwrap_or(-1), extents)
}

/// The forms of pax.
pub(super) fn pax_form<R: Read>(
    blocks: &mut Blocks<R>,
    sparse: Sparse,
) -> Result<Content, TarError> {
    // Without a length of its own the file has the length of what is stored, with a map before the content.
    let stored = i64::try_from(blocks.left()).unwrap_or(i64::MAX);
    let size = sparse.size.unwrap_or(stored);
    let extents = match sparse.map {
        Map::Here(extents) => extents,
        Map::BeforeContent => map_before_content(blocks)?,
    };
    content(blocks, size, extents)
}

fn content<R: Read>(
    blocks: &Blocks<R>,
    size: i64,
    extents: Vec<Extent>,
) -> Result<Content, TarError> {
    let size =
        u64::try_from(size).map_err(|_| blocks.wrong(format!("a sparse file of {size} bytes")))?;
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

/// pax's form 1.0: the map stands before the data, as decimal numbers in lines, in whole blocks.
fn map_before_content<R: Read>(blocks: &mut Blocks<R>) -> Result<Vec<Extent>, TarError> {
    let (mut block, mut unread) = ([0; BLOCK], 0);
    let mut number = |blocks: &mut Blocks<R>| -> Result<u64, TarError> {
        let mut digits = Vec::new();
        loop {
            if unread == 0 {
                if blocks.left() < BLOCK as u64 {
                    return Err(blocks.wrong("a sparse file whose map ends early"));
                }
                blocks.read(&mut block)?;
                unread = BLOCK;
            }
            let byte = block[BLOCK - unread];
            unread -= 1;
            match byte {
                b'\n' => break,
                _ if digits.len() < MOST_DIGITS => digits.push(byte),
                _ => return Err(blocks.wrong("a sparse file whose map is no list of numbers")),
            }
        }
        let number = decimal(&digits).and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| blocks.wrong("a sparse file whose map lacks a number"))
    };
    let count = number(blocks)?;
    if count > MOST_EXTENTS as u64 {
        return Err(blocks.wrong(TOO_MANY));
    }
    (0..count).map(|_| Ok(Extent { offset: number(blocks)?, length: number(blocks)? })).collect()
}
