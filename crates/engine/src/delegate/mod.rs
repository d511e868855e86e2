//! Another OCI runtime as the engine.
//!
//! | file | story |
//! |---|---|
//! | `container` | one container of a delegate, and every command about it |
//! | `argv` | a command line for a delegate |
//! | `error` | what fails in a delegate, or on the way to it |
//! | `orphan` | a `create` whose caller was killed |

mod argv;
mod container;
mod error;
mod orphan;

pub use argv::Argv;
pub use container::{Delegate, exec_features};
pub use error::DelegateError;
