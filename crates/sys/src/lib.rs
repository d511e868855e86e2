//! System calls as the rest of sharedroot wants them. Nothing here knows of images, containers or pools.
//!
//! | module | story |
//! |---|---|
//! | [`chain`] | an error and its causes in one line |
//! | [`mount`] | mounts that exist nowhere until they are attached |
//! | [`resolve`] | paths of others, resolved below a root and nowhere else |
//! | [`new_file`] | a file that takes the place of another, whole or not at all |
//! | [`by_descriptor`] | paths for the calls that take no descriptor |
//! | [`xattr`] | extended attributes of a file: names and values |
//! | [`private_dir`] | a directory that only root can write |
//! | [`clone3`] | a copy of this process in another cgroup or PID namespace |
//! | [`seccomp`] | a seccomp filter is loaded |
//! | [`signal`] | what no crate does with signals without unsafe |
//! | [`step`] | how long the steps of a command take |
//! | [`command_line`] | a part of this process's command line is hidden |
//!
//! All unsafe code of the programs is here, but two ioctls of `sharedroot-dm`. `hack/test` holds that.

pub mod by_descriptor;
pub mod chain;
pub mod clone3;
pub mod command_line;
pub mod mount;
pub mod new_file;
pub mod private_dir;
pub mod resolve;
pub mod seccomp;
pub mod signal;
pub mod step;
pub mod xattr;
