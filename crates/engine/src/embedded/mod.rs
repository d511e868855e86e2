//! The embedded engine: libcontainer, told what to do and asked what is.
//!
//! | file | story |
//! |---|---|
//! | `container` | one container of the embedded engine, from `start` to `delete` |
//! | `create` | a new container, and what libcontainer leaves out of it |
//! | `exec` | one more process in a container |
//! | `notify` | the caller's service manager learns that a container is ready |

pub mod container;
pub mod create;
pub mod exec;
pub mod notify;
