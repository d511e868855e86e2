//! config.json: read, checked, and put into words that libcontainer understands.
//!
//! | file | story |
//! |---|---|
//! | `bundle` | from a bundle directory to a checked configuration |
//! | `capabilities` | capabilities that nobody knows |
//! | `forbidden` | what the runtime-spec forbids |
//! | `refused` | what the embedded engine would leave out: refused |
//! | `rewrite` | a configuration in words that the embedded engine understands |
//! | `resources` | limits, completed |
//! | `error` | a field that cannot be honoured |

pub mod bundle;
pub mod capabilities;
pub mod error;
pub mod forbidden;
pub mod refused;
pub mod resources;
pub mod rewrite;
