//! Images that no engine has: an OCI layout, an archive of `docker save`, a directory.
//!
//! | file | story |
//! |---|---|
//! | `importable` | an image in a source: opened, then unpacked |
//! | `files` | the files of the source by their names, in a directory or in a tar |
//! | `contents`, `index` | the one image in the source: its configuration and its layers |
//! | `platform` | which images are for this host |
//! | `json` | JSON that Go reads in the same way |
//! | `compression` | bytes that are decompressed while they are read |
//! | `amount` | how many bytes all layers may have |
//! | `tar_stream` | the tar of a layer, entry by entry |
//! | `unpack`, `regular_file`, `hard_link` | the entries of a layer, made as files |
//! | `unpacker`, `beneath` | the directory of the layer, which no entry leaves |
//! | `room` | what stays free of the disk |
//! | `allowance`, `looks` | how many files all layers may make, and how often layers may be looked into |
//! | `whiteout`, `opaque`, `lower_layers` | what a layer hides of the layers below it |
//! | `metadata`, `directory_times` | owner, mode, attributes and times of an entry |
//! | `directory` | a directory that is a whole root file system |
//! | `error`, `unpack_error` | why an image cannot be imported |

mod allowance;
mod amount;
mod beneath;
mod compression;
mod contents;
mod directory;
mod directory_times;
mod error;
mod files;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod hard_link;
mod importable;
mod index;
mod json;
mod looks;
mod lower_layers;
mod metadata;
mod opaque;
mod platform;
mod regular_file;
mod room;
mod tar_stream;
#[cfg(test)]
mod testing;
mod unpack;
mod unpack_error;
mod unpacker;
mod whiteout;

pub use directory::directory;
pub use error::ImportError;
pub use importable::Importable;
pub(super) use lower_layers::LowerLayers;
pub use room::RESERVE;
