//! Another OCI runtime as the engine.
//!
//! | file | story |
//! |---|---|
//! | `container` | one container of a delegate, and every command about it |
//! | `argv` | the arguments of a call of a delegate |
//! | `error` | the errors of a delegate and of calling one |
//! | `orphan` | a `create` whose caller was killed |

mod argv;
mod container;
mod error;
mod orphan;

pub use argv::Argv;
pub use container::{Delegate, exec_features};
pub use error::DelegateError;
