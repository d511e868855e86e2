//! The processes of a container: how each comes to be, and its last steps before the image's own code runs.
//!
//! | file | story |
//! |---|---|
//! | `clone3` | the container's cgroup, into which a process is cloned |
//! | `init_process` | a container's init process |
//! | `enter` | the way of one more process into a container |
//! | `child_setup` | what every process is first |
//! | `executor` | the last steps before the image's own code runs |
//! | `keyring` | what a process must not inherit from the caller: keyring, groups, ignored signals |
//! | `stdio`, `console` | the streams and the terminal of a process |
//! | `loopback` | the first device of a network namespace |
//! | `limits` | resource limits, set from outside where the process may not |
//! | `inherited_fds`, `passwd` | nothing that is open on the host is left to it; its home, without code of the image |
//! | `child` | a child of ours, waited for: signals that are sent to us reach it |

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
