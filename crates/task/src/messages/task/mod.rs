//! Requests and responses of `containerd.task.v2.Task` and `containerd.task.v3.Task`. Both versions have the same methods,
//! messages and numbers; only the name of the package differs.
//!
//! | file | messages |
//! |---|---|
//! | `container` | of a container, its processes as a whole, and the shim |
//! | `process` | of one process |

mod container;
mod process;

pub use container::*;
pub use process::*;
