//! config.json: read, checked, and put into words that libcontainer understands.
//!
//! | file | story |
//! |---|---|
//! | `bundle` | from a bundle directory to a checked configuration |
//! | `capabilities` | capabilities that nobody knows |
//! | `validate/` | what a configuration may not say: what the runtime-spec forbids, what the engine would leave out |
//! | `rewrite` | a configuration in words that the embedded engine understands |
//! | `process` | the process of a configuration, or of `exec`, as runc would start it |
//! | `labels` | the SELinux labels of a configuration |
//! | `id_mappings` | the users of a container by their numbers on this host |
//! | `resources` | limits, completed |
//! | `error` | a field that cannot be honoured |

pub mod bundle;
pub mod capabilities;
pub mod error;
pub mod id_mappings;
pub mod labels;
pub mod process;
pub mod resources;
pub mod rewrite;
pub mod validate;
