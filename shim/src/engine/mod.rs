//! What starts and steers a container's processes: the embedded libcontainer.

mod cgroup;
mod embedded;
mod exec;
mod hooks;
mod memory;
mod normal;
mod propagation;
mod refused;
mod resources;
mod sealed;
mod session;
mod signal;
mod stats;
mod volumes;
mod workload;

pub use cgroup::{Limits, event, update};
pub use embedded::{CreateOptions, Engine, EngineError, Status};
pub use exec::{Tenant, Terminal, add_capabilities, wait};
pub use normal::{Labels, SpecError, normalise};
pub use sealed::{SealError, seal};
pub use volumes::{VolumeError, Volumes};
