//! Operations on an existing container, by its cgroup and its processes.
//!
//! | file | story |
//! |---|---|
//! | `cgroup` | the container's cgroup: where it is, and its processes |
//! | `cgroup_processes` | the processes in a cgroup, and in the cgroups that the container made below it |
//! | `cgroup_removal` | the end of the container's cgroup, of either version and either driver |
//! | `cgroup_end` | the end of a cgroup of version 2, and of the cgroups below it |
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
mod cgroup_processes;
pub mod cgroup_removal;
pub mod events;
pub mod figures;
pub mod in_use;
pub(crate) mod members;
pub mod signal;
pub mod stats;
mod unit;
pub mod update;
