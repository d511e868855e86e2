//! The embedded engine: libcontainer, told what to do and asked what is.
//!
//! | file | story |
//! |---|---|
//! | `container` | one container of the embedded engine, from `start` to `delete` |
//! | `create` | a new container, and what libcontainer leaves out of it |
//! | `exec`, `tenant` | one more process in a container; that process, confined as the init process is |
//! | `notify` | the caller's service manager learns that a container is ready |

pub mod container;
pub mod create;
pub mod exec;
pub mod notify;
pub mod tenant;
