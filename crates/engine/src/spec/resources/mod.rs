//! `linux.resources` in what libcontainer writes.
//!
//! | file | story |
//! |---|---|
//! | `complete` | limits as files of cgroup v2, what nobody would enforce refused, the rule that denies every device |
//! | `numbers` | numbers that the engine or the kernel would take for others, or for "not given" |
//! | `systemd` | the limits in the words of the engine's way to systemd |

mod complete;
mod numbers;
mod systemd;

pub use complete::{complete, of_container};
pub use systemd::for_systemd;
