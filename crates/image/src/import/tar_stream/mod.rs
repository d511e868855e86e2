//! A tar stream, entry by entry, as an image's layer has it: ustar, pax, GNU's long names and sparse files.
//!
//! | file | story |
//! |---|---|
//! | `archive` | the stream as entries, one after another |
//! | `entry` | one entry, from its header and the pax records before it |
//! | `sparse` | the content of a file, and the three forms of a sparse file |
//! | `pax` | the records of a pax header |
//! | `blocks` | the stream as blocks: headers, content, the rest of the last block |
//! | `error` | where the stream is no tar, and why |
//!
//! The crate `tar` reads the fields of a header. This module reads what lies around the headers, for three reasons: the crate
//! takes names and pax records of any length into memory; it splits pax records at newlines, which a name or an attribute may
//! hold; it does not know the sparse files of pax. Anybody may have written a layer.

mod archive;
mod blocks;
mod entry;
mod error;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;

pub(super) use archive::Archive;
pub(super) use entry::{Entry, EntryKind};
pub use error::TarError;
pub(super) use pax::{Extent, Time};
