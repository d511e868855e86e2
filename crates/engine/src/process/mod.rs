//! The processes of a container: how each one is started, and its last steps before the image's own code runs.
//!
//! | file | story |
//! |---|---|
//! | `clone3` | the container's cgroup, into which a process is cloned |
//! | `init_process` | a container's init process |
//! | `enter` | how one more process enters a container |
//! | `child_setup` | the first steps of every process |
//! | `executor` | the last steps before the image's own code runs |
//! | `keyring` | what a process must not inherit from the caller: keyring, groups, ignored signals |
//! | `stdio`, `console` | the streams and the terminal of a process |
//! | `loopback` | the first device of a network namespace |
//! | `limits` | resource limits, set from outside where the process may not |
//! | `inherited_fds`, `passwd` | a process inherits no open file of the host; its home directory, found without code of the image |
//! | `child` | a child of this process, which gets this process's signals |

pub mod child;
pub mod child_setup;
pub mod clone3;
pub mod console;
pub mod enter;
pub mod executor;
pub mod inherited_fds;
pub mod init_process;
pub mod keyring;
pub mod limits;
pub mod loopback;
pub mod passwd;
pub mod stdio;
