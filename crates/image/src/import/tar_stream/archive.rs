//! A tar stream as entries, one after another.

use std::io::Read;

use super::blocks::Blocks;
use super::entry::{Entry, Special};
use super::error::TarError;
use super::header::{self, Header};
use super::number::text;
use super::pax::Pax;

/// A tar that is read from its beginning to its end.
pub(in crate::import) struct Archive<R>(Blocks<R>);

impl<R: Read> Archive<R> {
    pub(in crate::import) fn new(stream: R) -> Self {
        Self::starting_at(stream, 0)
    }

    /// A tar from the byte `at` on, where a header begins.
    pub(in crate::import) fn starting_at(stream: R, at: u64) -> Self {
        Self(Blocks::starting_at(stream, at))
    }

    pub(in crate::import) fn into_stream(self) -> R {
        self.0.into_stream()
    }

    /// How many bytes have been read.
    pub(in crate::import) fn position(&self) -> u64 {
        self.0.position()
    }

    /// Where the content of the current entry ends, in bytes from the beginning of the tar.
    pub(in crate::import) fn end_of_entry(&self) -> u64 {
        // `Blocks::begin` keeps the sum of both below LONGEST_FILE.
        self.0.position().saturating_add(self.0.left())
    }

    /// Reads the next entry; none at the end of the tar. Passes over what is left of the entry before.
    pub(in crate::import) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let blocks = &mut self.0;
        let mut special = Special::default();
        loop {
            blocks.skip()?;
            let Some(block) = blocks.header()? else { return Ok(None) };
            let header = Header::parse(&block).map_err(|what| blocks.wrong(what))?;
            match header.letter {
                header::PAX => special.pax = records(blocks, &header)?,
                // The records of a global header are for all later entries. No engine heeds them, and git writes its comments
                // there. For Go's archive/tar the header is an entry by itself, which takes what stands before it.
                header::GLOBAL_PAX => {
                    records(blocks, &header)?;
                    special = Special::default();
                }
                header::LONG_NAME => special.long_name = long_name(blocks, &header)?,
                header::LONG_LINK => special.long_link = long_name(blocks, &header)?,
                _ => return special.entry(blocks, &header).map(Some),
            }
        }
    }

    /// Reads the next bytes of the current entry, as they are stored; 0 at its end.
    pub(in crate::import) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        self.0.read(buffer)
    }
}

fn records(blocks: &mut Blocks<impl Read>, header: &Header) -> Result<Pax, TarError> {
    let records = blocks.special(header.size)?;
    Pax::parse(&records).map_err(|what| blocks.wrong(what))
}

/// Reads a name of GNU's form, which a NUL ends. An empty one is none.
fn long_name(blocks: &mut Blocks<impl Read>, header: &Header) -> Result<Option<Vec<u8>>, TarError> {
    let name = blocks.special(header.size)?;
    Ok(Some(text(&name).to_vec()).filter(|name| !name.is_empty()))
}
