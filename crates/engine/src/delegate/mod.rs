//! Another OCI runtime as the engine.
//!
//! | file | story |
//! |---|---|
//! | `container` | one container of a delegate, and every command about it |
//! | `argv` | a command line for a delegate |
//! | `orphan` | a `create` whose caller was killed |

mod argv;
mod container;
mod orphan;

pub use argv::Argv;
pub use container::{Delegate, DelegateError, exec_features};
