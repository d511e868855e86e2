//! From a config.json and a root to running processes: the embedded libcontainer starts and steers them, or a delegate, which
//! is another OCI runtime of this host. Nothing here knows of images and pools, or of the command line of the program.
//!
//! A program that uses the embedded engine calls [`stand_in`] before anything else, for a hook's stand-in is the program
//! itself; then [`engine_log::open`], and [`engine_log::keep`] for each error that libcontainer logs; and [`seal`] before it
//! creates a container or enters one.
//!
//! | module | story |
//! |---|---|
//! | `engine` | the engine of one container, whichever it is |
//! | `choice` | which engine a new container gets, and whether its program is safe to run |
//! | `spec/` | config.json: read, checked, and put into words that libcontainer understands |
//! | `embedded/` | libcontainer, told what to do and asked what is |
//! | `process/` | the processes of a container: how each comes to be, up to the image's own code |
//! | `mounts/` | mounts and devices that libcontainer does not make, or not as runc does |
//! | `seccomp/` | the filter of a process, and when it is loaded |
//! | `hooks/` | the caller's hooks: when they run, where, and what they are told |
//! | `container/` | limits, figures and signals of a container that is there |
//! | `delegate/` | another runtime, in its own words, with our root |
//! | `self_exe` | our own executable, out of a container's reach |
//! | [`engine_log`], `reason` | what libcontainer logged; why it failed, without its structures |
//! | `features` | what the embedded engine supports |
//! | `error` | what fails in the embedded engine |

// They panic where nobody reads; `say_aside!` does not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod choice;
mod container;
mod delegate;
mod embedded;
mod engine;
pub mod engine_log;
mod error;
mod features;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod hooks;
mod mounts;
mod process;
mod reason;
mod seccomp;
mod self_exe;
mod spec;

pub use choice::{Choice, ChoiceError, Dialect, Program, VARIABLE};
pub use container::events::event;
pub use container::in_use::refuse_others;
pub use container::update::{Limits, update};
pub use delegate::{Argv, Delegate, DelegateError, exec_features};
pub use embedded::container::{Embedded, Status};
pub use embedded::create::CreateOptions;
pub use embedded::exec::Terminal;
pub use embedded::notify::{Relay, make as make_notify, offer as offer_notify};
pub use embedded::tenant::{Tenant, add_capabilities, parse_process};
pub use engine::Engine;
pub use error::EngineError;
pub use features::features;
pub use hooks::callers::{CallersHooks, may_write_root};
pub use hooks::hook_relay::stand_in;
pub use mounts::bind_mounts::{BindMountError, BindMounts};
pub use mounts::propagation::leads_out;
pub use process::child::{attend, hold};
pub use self_exe::{SealError, seal};
pub use spec::bundle::{Bundle, BundleError, parse_config, plain_root, read_config};
pub use spec::error::SpecError;
pub use spec::labels::Labels;
pub use spec::rewrite::normalise;
pub use spec::validate::unsupported::check_dev;
