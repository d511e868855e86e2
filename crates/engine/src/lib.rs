//! From a config.json and a root to running processes. The engine that starts and controls the processes is the
//! embedded libcontainer or a delegate, which is another OCI runtime of this host. This crate does not know images,
//! pools, or the program's command line.
//!
//! A program that uses the embedded engine calls [`stand_in`] first, because a hook's stand-in is the program itself.
//! Then it calls [`engine_log::open`], and [`engine_log::keep`] for each error that libcontainer logs. It calls
//! [`seal`] before it creates a container or enters one.
//!
//! | module | story |
//! |---|---|
//! | `engine` | the engine of one container: the embedded engine or a delegate |
//! | `asked` | what a caller asks of `kill` and `delete` |
//! | `choice` | which engine a new container gets, and whether its program is safe to run |
//! | `spec/` | config.json: read, checked, and put into words that libcontainer understands |
//! | `embedded/` | libcontainer, which performs the verbs and keeps the state |
//! | `process/` | the processes of a container: how each is started, up to the image's own code |
//! | `mounts/` | mounts and devices that libcontainer does not make, or not as runc does |
//! | `seccomp/` | the filter of a process, and when it is loaded |
//! | `hooks/` | the caller's hooks: when they run, where, and which state they get |
//! | `container/` | limits, figures and signals of an existing container |
//! | `delegate/` | another runtime, called with its own flags, on sharedroot's root |
//! | `self_exe` | the runtime's own executable, out of a container's reach |
//! | [`engine_log`], `reason` | what libcontainer logged; why it failed, without Rust's debug output |
//! | `features` | what the embedded engine supports |
//! | `error` | the errors of the embedded engine |

// These macros panic if standard output or error is closed; `say_aside!` does not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod asked;
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

pub use asked::{Deletion, Reach};
pub use choice::{Choice, ChoiceError, Dialect, Program, VARIABLE};
pub use container::events::event;
pub use container::figures::{Device, Figures, Flat, HugePages, Pressure, Rdma, Stalled, Usage};
pub use container::in_use::refuse_others;
pub use container::members::PidNamespace;
pub use container::update::{Limits, update};
pub use delegate::{Argv, Delegate, DelegateError, exec_features};
pub use embedded::container::Embedded;
pub use embedded::create::CreateOptions;
pub use embedded::exec::Terminal;
pub use embedded::notify::{Relay, make as make_notify, offer as offer_notify};
pub use embedded::status::Status;
pub use embedded::tenant::{Tenant, add_capabilities, parse_process};
pub use engine::Engine;
pub use error::EngineError;
pub use features::features;
pub use hooks::callers::CallersHooks;
pub use hooks::hook_relay::stand_in;
pub use hooks::kinds::may_write_root;
pub use mounts::bind_mount_error::BindMountError;
pub use mounts::bind_mounts::BindMounts;
pub use mounts::places::Places;
pub use mounts::propagation_plan::leads_out;
pub use process::child::{attend, hold};
pub use process::inherited_fds::close_inherited;
pub use self_exe::{SealError, seal, sealed};
pub use spec::bundle::{Bundle, BundleError, parse_config, plain_root, read_config};
pub use spec::error::SpecError;
pub use spec::labels::Labels;
pub use spec::rewrite::normalise;
pub use spec::validate::unsupported::check_dev;
