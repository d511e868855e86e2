//! What is done to a container that is there, by its cgroup and its processes.
//!
//! | file | story |
//! |---|---|
//! | `cgroup` | the container's cgroup: its processes, its figures, its limits |
//! | `cgroup_end` | the end of a cgroup, and of those that the container made below it |
//! | `stats` | figures in runc's form |
//! | `signal` | signals by name, to one process or to all |

pub mod cgroup;
pub mod cgroup_end;
pub mod signal;
pub mod stats;
