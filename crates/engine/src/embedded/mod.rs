//! The embedded engine: libcontainer performs the verbs and keeps the container's state.
//!
//! | file | story |
//! |---|---|
//! | `container` | one container of the embedded engine, from `start` to `delete` |
//! | `create` | a new container, and the steps that libcontainer leaves out |
//! | `exec`, `tenant` | one more process in a container; that process, confined as the init process is |
//! | `notify` | the caller's service manager learns that a container is ready |

pub mod container;
pub mod create;
pub mod exec;
pub mod notify;
pub mod tenant;
