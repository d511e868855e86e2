//! System calls as the crates of sharedroot need them. Nothing here knows images, containers or pools.
//!
//! | module | story |
//! |---|---|
//! | [`chain`] | an error and its causes in one line, for a person |
//! | [`mount`] | mounts that are in no mount table until they are attached |
//! | [`resolve`] | paths that others wrote, resolved below a root and never outside of it |
//! | [`new_file`] | a file that replaces another one, whole or not at all |
//! | [`output`] | the output that an administrator names: a stream that is there, or a file |
//! | [`mountinfo`] | the mount table of a process |
//! | [`process`] | what /proc says of a process: when it started, its cgroup |
//! | [`by_descriptor`] | paths for the system calls that take no descriptor |
//! | [`byte_lock`] | a lock on one byte of a file that many locks share |
//! | [`extents`] | where the content of a file is on its device |
//! | [`xattr`] | extended attributes of a file: names and values |
//! | [`private_dir`] | a directory that only root can write |
//! | [`clone3`] | a child of this process in another cgroup or PID namespace |
//! | [`seccomp`] | loading a seccomp filter |
//! | [`signal`] | real-time signals by their number, a handler for SIGPIPE |
//! | [`process_start`] | when this process began, and the environment that it passes on |
//! | [`stderr`] | lines on standard error, also where nobody reads |
//! | [`step`] | how long the steps of a command take |
//! | [`command_line`] | how much of its command line this process shows |
//!
//! All unsafe code of the programs is in this crate, except two ioctls of `sharedroot-dm`. The test `xtask/tests/house.rs`
//! holds this rule.

pub mod by_descriptor;
pub mod byte_lock;
pub mod chain;
pub mod clone3;
pub mod command_line;
pub mod extents;
pub mod mount;
pub mod mountinfo;
pub mod new_file;
pub mod output;
pub mod private_dir;
pub mod process;
pub mod process_start;
pub mod resolve;
pub mod seccomp;
pub mod signal;
pub mod stderr;
pub mod step;
pub mod xattr;
