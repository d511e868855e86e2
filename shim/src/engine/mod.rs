//! What starts and steers a container's processes: the embedded libcontainer.

mod birth;
mod cgroup;
mod embedded;
mod exec;
mod normal;
mod sealed;
mod signal;
mod stats;
mod workload;

pub use cgroup::{Limits, event, update};
pub use embedded::{CreateOptions, Engine, EngineError, Status};
pub use exec::{Tenant, Terminal, add_capabilities, wait};
pub use normal::{Labels, SpecError, normalise};
pub use sealed::{SealError, seal};
