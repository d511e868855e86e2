//! config.json: read, checked, and rewritten for libcontainer.
//!
//! | file | story |
//! |---|---|
//! | `bundle` | from a bundle directory to a checked configuration |
//! | `capabilities` | capabilities of unknown name |
//! | `validate/` | what a configuration may not say: what the runtime-spec forbids, what the engine would leave out |
//! | `rewrite` | a configuration rewritten for the embedded engine |
//! | `process` | the process of a configuration, or of `exec`, as runc would start it |
//! | `labels` | the SELinux labels of a configuration |
//! | `id_mappings` | the users of a container by their IDs on this host |
//! | `resources` | limits, completed |
//! | `error` | a field that the engine cannot honour |

pub mod bundle;
pub mod capabilities;
pub mod error;
pub mod id_mappings;
pub mod labels;
pub mod process;
pub mod resources;
pub mod rewrite;
pub mod validate;
