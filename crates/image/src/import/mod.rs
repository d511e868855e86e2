//! Images from outside of any engine: an OCI layout, an archive of `docker save`, a directory.
//!
//! | file | story |
//! |---|---|
//! | `importable` | an image in a source: looked into, unpacked |
//! | `files` | the source's files by name, in a directory or in a tar |
//! | `contents`, `index` | the one image in it: its configuration and its layers |
//! | `compression` | bytes decompressed as they pass |
//! | `archive`, `pax` | a layer's tar, entry by entry |
//! | `unpack`, `beneath`, `directory_times` | the entries as a layer's directory, never outside of it |
//! | `metadata` | owner, mode, attributes and times of an entry |
//! | `whiteout`, `opaque` | what a layer hides of the layers below it |
//! | `directory` | a directory that is a root already |
//! | `error`, `unpack_error` | why an image cannot be imported |

mod archive;
mod beneath;
mod compression;
mod contents;
mod directory;
mod directory_times;
mod error;
mod files;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod importable;
mod index;
mod metadata;
mod opaque;
mod pax;
#[cfg(test)]
mod testing;
mod unpack;
mod unpack_error;
mod whiteout;

pub use directory::directory;
pub use error::ImportError;
pub use importable::Importable;
pub use unpack::RESERVE;
