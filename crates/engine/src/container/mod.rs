//! Operations on an existing container, by its cgroup and its processes.
//!
//! | file | story |
//! |---|---|
//! | `cgroup` | the container's cgroup: where it is, its processes, its end |
//! | `cgroup_end` | the end of a cgroup, and of the cgroups that the container made below it |
//! | `cgroup_owner` | the user of a container may divide the container's cgroup |
//! | `in_use` | a new container does not take a cgroup that others use |
//! | `members` | whether the processes in a cgroup are the container's |
//! | `update` | new limits |
//! | `figures` | the figures of a cgroup of version 2, as the kernel has them |
//! | `events`, `stats` | figures of a container; figures in runc's form |
//! | `signal` | signals by name, to one process or to all |
//! | `unit` | the unit that systemd makes for a container, and its cgroup |

pub mod cgroup;
pub mod cgroup_end;
mod cgroup_owner;
pub mod events;
pub mod figures;
pub mod in_use;
pub(crate) mod members;
pub mod signal;
pub mod stats;
mod unit;
pub mod update;
