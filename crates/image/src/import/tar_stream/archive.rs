//! A tar stream as entries, one after another.

use std::io::Read;

use tar::{EntryType, Header};

use super::blocks::Blocks;
use super::entry::{Entry, Special};
use super::error::TarError;
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
            let header = Header::from_byte_slice(&block);
            let size = header.entry_size().map_err(|error| blocks.wrong(error))?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let text = blocks.special(size)?;
                    special.pax = Pax::parse(&text).map_err(|what| blocks.wrong(what))?;
                }
                // The records of a global header are for all later entries. No engine heeds them, and git writes its comments
                // there.
                EntryType::XGlobalHeader => drop(blocks.special(size)?),
                EntryType::GNULongName => special.long_name = Some(long_name(blocks, size)?),
                EntryType::GNULongLink => special.long_link = Some(long_name(blocks, size)?),
                _ => return special.entry(blocks, header, size).map(Some),
            }
        }
    }

    /// Reads the next bytes of the current entry, as they are stored; 0 at its end.
    pub(in crate::import) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        self.0.read(buffer)
    }
}

/// Reads a name of GNU's form, which a NUL ends.
fn long_name(blocks: &mut Blocks<impl Read>, size: u64) -> Result<Vec<u8>, TarError> {
    let mut name = blocks.special(size)?;
    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
    Ok(name)
}
