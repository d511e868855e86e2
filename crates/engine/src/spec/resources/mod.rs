//! `linux.resources` in a form that libcontainer writes.
//!
//! | file | story |
//! |---|---|
//! | `complete` | limits as files of cgroup v2, the refusal of limits that would not be enforced, the rule that denies every device |
//! | `numbers` | numbers that the engine or the kernel would misread, or that mean "not given" |
//! | `systemd` | the limits in the form that the engine passes to systemd |

mod complete;
mod numbers;
mod systemd;

pub use complete::{complete, of_container};
pub use systemd::for_systemd;
