//! What starts and steers a container's processes: the embedded libcontainer, or a delegate, which
//! is another OCI runtime of this host.
//!
//! | file | its story |
//! |---|---|
//! | `choice.rs` | which engine a new container gets, and whether its program is safe to run |
//! | `embedded.rs`, `create.rs`, `error.rs` | libcontainer, told what to do and asked what is; a new container; what fails |
//! | `delegate/` | another runtime, in its own words, with our root |
//! | `normal.rs` | a configuration in words that the embedded engine understands |
//! | `exec.rs`, `enter.rs`, `workload.rs` | one more process; its way in; the last steps before the image's own code runs |
//! | `filter.rs`, `lent.rs` | the seccomp filter of a first process, loaded when the engine is done; capabilities that are lent for that |
//! | `sealed.rs`, `descriptors.rs`, `home.rs` | our own executable, and what is open on the host, out of a container's reach; no code of the image in this process |
//! | `reason.rs`, `spec_error.rs` | why the engine failed, without its structures; a field that cannot be honoured |
//! | `refused.rs`, `resources.rs` | what the engine would leave out: refused, completed |
//! | `hooks.rs`, `relay.rs` | the caller's hooks: when they run, where, and what they are told |
//! | `volumes.rs`, `propagation.rs`, `cleared.rs`, `memory.rs` | bind mounts of every propagation and flag, file systems in memory that begin with a copy |
//! | `inside.rs`, `masks.rs`, `device_dirs.rs`, `devices.rs` | the mounts of a container that waits; the label of its masked directories; the mode of its devices' directories; devices that the engine does not make |
//! | `birth.rs`, `first.rs`, `leading.rs` | a process that is born in the container's cgroup; a container's first process; what every process is first |
//! | `notify.rs` | the caller's service manager learns that a container is ready |
//! | `session.rs`, `loopback.rs` | keyring, streams and terminal of a process; its own network's first device |
//! | `cgroup.rs`, `stats.rs`, `signal.rs` | limits, figures, signals |

mod birth;
mod cgroup;
mod cgroup_end;
mod choice;
mod cleared;
mod console;
mod create;
mod delegate;
mod descriptors;
mod dev;
mod device_dirs;
mod devices;
mod embedded;
mod enter;
mod error;
mod exec;
mod filter;
mod first;
mod home;
mod hooks;
mod inside;
mod leading;
mod lent;
mod limits;
mod loopback;
mod masks;
mod memory;
mod normal;
mod notify;
mod propagation;
mod reason;
mod refused;
mod relay;
mod resources;
mod sealed;
mod seccomp;
mod session;
mod signal;
mod spec_error;
mod stats;
mod volumes;
mod workload;

pub use cgroup::{Limits, event, refuse_others, update};
pub use choice::{Choice, ChoiceError, Dialect, VARIABLE};
pub use create::CreateOptions;
pub use delegate::{Delegate, DelegateError, attend, features, hold};
use delegate::{callers_mask, let_go};
pub use embedded::{Embedded, Status};
pub use error::EngineError;
#[cfg(any(test, feature = "fuzz"))]
pub use exec::process;
pub use exec::{Tenant, Terminal, add_capabilities};
pub use hooks::{CallersHooks, may_write_root};
pub use normal::{Labels, normalise};
pub use notify::{Relay, make as make_notify, offer as offer_notify};
pub use propagation::leads_out;
pub use refused::check_dev;
pub use relay::stand_in;
pub use sealed::{SealError, seal, seal_early};
pub use spec_error::SpecError;
pub use volumes::{VolumeError, Volumes};

/// The engine of one container.
#[derive(Debug)]
pub enum Engine {
    /// libcontainer, in this process.
    Embedded(Embedded),
    /// Another OCI runtime.
    Delegate(Delegate),
}

impl Engine {
    /// Whether the engine has the container.
    ///
    /// # Errors
    /// [`DelegateError`].
    pub fn exists(&self) -> Result<bool, DelegateError> {
        match self {
            Self::Embedded(embedded) => Ok(embedded.exists()),
            Self::Delegate(delegate) => delegate.exists(),
        }
    }

    /// Whether the engine's state directory has anything of that ID. Asks nobody.
    #[must_use]
    pub fn has_traces(&self) -> bool {
        match self {
            Self::Embedded(embedded) => embedded.exists(),
            Self::Delegate(delegate) => delegate.has_traces(),
        }
    }
}
