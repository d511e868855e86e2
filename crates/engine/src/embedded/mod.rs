//! The embedded engine: libcontainer performs the verbs and keeps the container's state. Each verb has a file.
//!
//! | file | story |
//! |---|---|
//! | `container` | one container of the embedded engine: its directories, its hooks, its errors |
//! | `state`, `status` | libcontainer's state of a container, and the init process in it; the status in runc's words |
//! | `create` | a new container, and the steps that libcontainer leaves out |
//! | `start`, `kill`, `pause`, `delete` | the verbs of these names, and `resume` |
//! | `exec`, `tenant` | one more process in a container; that process, confined as the init process is |
//! | `unread` | `delete --force` of a container whose state cannot be read |
//! | `notify` | the caller's service manager learns that a container is ready |

pub mod container;
pub mod create;
mod delete;
pub mod exec;
mod kill;
pub mod notify;
mod pause;
mod start;
pub mod state;
pub mod status;
pub mod tenant;
mod unread;
