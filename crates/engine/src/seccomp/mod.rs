//! The seccomp filter of a process.
//!
//! | file | story |
//! |---|---|
//! | `program`, `stub` | a filter as runc loads it: libseccomp's, with a stub before it |
//! | `arch` | architectures, as libseccomp names them |
//! | `filter` | the filter of an init process, loaded when the engine is done |
//! | `lent` | capabilities that a process has until its filter is loaded |

mod arch;
pub mod filter;
pub mod lent;
pub mod program;
mod stub;
