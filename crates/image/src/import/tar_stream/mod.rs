//! A tar stream, entry by entry, as an image's layer has it: ustar, pax, GNU's long names and sparse files.
//!
//! | file | story |
//! |---|---|
//! | `archive` | the stream as entries, one after another |
//! | `entry` | one entry, from its header and the pax records before it |
//! | `header`, `number` | the fields of a header |
//! | `sparse` | the content of a sparse file, in three forms |
//! | `pax` | the records of a pax header |
//! | `blocks` | the stream as blocks: headers, content, the rest of the last block |
//! | `error` | where the stream is no tar, and why |
//!
//! Engines read layers with Go's archive/tar, and a base must be the tree that they make of the layer. So each rule here is one of
//! Go's, also where POSIX, GNU tar or the crate `tar` have another one; `tests/beside_go.rs` compares the two readers. Anybody may
//! have written a layer, so what is taken into memory has a bound.

mod archive;
mod blocks;
#[cfg(test)]
mod engine_tests;
mod entry;
mod error;
mod header;
mod number;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;

pub(super) use archive::Archive;
pub(super) use entry::{Entry, EntryKind};
pub use error::TarError;
pub(super) use pax::{Extent, Time};
