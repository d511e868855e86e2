//! A helper: a process that does one operation on one container, reports, and ends.
//!
//! | module | story |
//! |---|---|
//! | `create` | a new container, with its rootfs and streams |
//! | `exec` | one more process |
//! | `loopback` | a file of a rootfs on a loop device |
//! | `stats` | the figures of a container |
//! | `rootfs` | the mounts that containerd asks for |
//! | `console` | the terminal of a process, on its way to the server |
//! | `streams` | the standard streams of a process |

mod console;
mod create;
mod exec;
mod loopback;
pub mod rootfs;
mod stats;
mod streams;

use std::fmt::Display;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use sharedroot::verbs::{Debug, Failure, LifecycleError, VerbError, Verbs};
use sharedroot_engine::Reach;
use sharedroot_sys::chain::chain;
use sharedroot_task::messages::{Any, Status};
use sharedroot_task::{Call, Code};

use crate::log;
use crate::order::Order;
use crate::report::{self, Keep, Report};
use crate::serve::Orders;
use crate::spawner::Given;

/// An operation failed.
#[derive(Debug)]
pub struct Failed {
    /// What kind of failure.
    pub code: Code,
    /// What failed on what, and why.
    pub text: String,
}

impl Failed {
    /// A failure without a kind.
    pub fn other(error: impl Display) -> Self {
        Self { code: Code::Unknown, text: error.to_string() }
    }

    /// Something that this shim does not do. The text ends as containerd's own does.
    pub fn unsupported(what: impl Display) -> Self {
        Self { code: Code::Unimplemented, text: format!("{what}: not implemented") }
    }

    /// A request that cannot be meant.
    pub fn invalid(what: impl Display) -> Self {
        Self { code: Code::InvalidArgument, text: format!("{what}: invalid argument") }
    }
}

impl From<VerbError> for Failed {
    fn from(error: VerbError) -> Self {
        let code = match error.failure() {
            Failure::Exists => Code::AlreadyExists,
            Failure::NotFound => Code::NotFound,
            Failure::Unsupported => Code::Unimplemented,
            Failure::Other => Code::Unknown,
        };
        let text = chain(&error);
        let text = code.class().map_or_else(|| text.clone(), |class| format!("{text}: {class}"));
        Self { code, text }
    }
}

impl From<LifecycleError> for Failed {
    fn from(error: LifecycleError) -> Self {
        VerbError::from(error).into()
    }
}

/// What an operation did, and the descriptors that the server keeps.
#[derive(Debug, Default)]
pub struct Done {
    /// The report. Its list of descriptors is made from `kept`.
    pub report: Report,
    /// The descriptors.
    pub kept: Vec<(Keep, OwnedFd)>,
}

/// Does one operation, and reports.
pub fn help(orders: &Orders, given: Given) {
    let Given { order, report: socket } = given;
    let done = catch_unwind(AssertUnwindSafe(|| operate(orders, order)));
    let done = done.unwrap_or_else(|_| {
        Err(Failed { code: Code::Internal, text: "a fault of sharedroot; its log has more".into() })
    });
    let Done { mut report, kept } = done.unwrap_or_else(|Failed { code, text }| {
        let failed = Some(Status { code: code as i32, message: text, details: Vec::new() });
        Done { report: Report { failed, ..Report::default() }, kept: Vec::new() }
    });
    let (keeps, kept): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
    report.kept = keeps.into_iter().map(i32::from).collect();
    // Without the server nobody waits for the report.
    let _ = report::send(socket.as_fd(), &report, &kept);
}

fn operate(orders: &Orders, order: OwnedFd) -> Result<Done, Failed> {
    let Order { call, bundle } = Order::read(order).map_err(Failed::other)?;
    let debug = if orders.debug { Debug::On } else { Debug::Off };
    let verbs = Verbs::load(&orders.state_root)?.logging(log::of_bundle(&bundle), debug);
    match call {
        Call::Create(request) => return create::create(orders, &verbs, &request),
        Call::Exec(request) => return exec::exec(orders, &verbs, &bundle, &request),
        Call::Start(request) => verbs.start(&request.id)?,
        Call::Delete(request) => {
            verbs.delete(&request.id, &bundle)?;
            rootfs::unmount(&rootfs::of_bundle(&bundle)).map_err(|e| Failed::other(chain(&e)))?;
        }
        Call::Kill(request) => {
            let reach = if request.all { Reach::All } else { Reach::Init };
            verbs.kill(&request.id, request.signal, reach)?;
        }
        Call::Pause(request) => verbs.pause(&request.id)?,
        Call::Resume(request) => verbs.resume(&request.id)?,
        Call::Update(request) => {
            let resources = json(request.resources.as_ref(), "LinuxResources")?;
            verbs.update(&request.id, resources)?;
        }
        Call::Pids(request) => {
            let pids = verbs.processes(&request.id)?;
            let pids = pids.into_iter().filter_map(|pid| u32::try_from(pid).ok()).collect();
            let report = Report { pids, ..Report::default() };
            return Ok(Done { report, kept: Vec::new() });
        }
        Call::Stats(request) => {
            let stats = Some(stats::answer(&verbs.figures(&request.id)?));
            return Ok(Done { report: Report { stats, ..Report::default() }, kept: Vec::new() });
        }
        other => return Err(Failed::unsupported(other.method())),
    }
    Ok(Done::default())
}

/// A value of the runtime-spec, which containerd sends as JSON in an `Any`.
fn json<'a>(any: Option<&'a Any>, name: &str) -> Result<&'a [u8], Failed> {
    let any = any.ok_or_else(|| Failed::invalid(format!("the request has no {name}")))?;
    // types.containerd.io/opencontainers/runtime-spec/1/NAME
    let found = any.name();
    if found != name {
        return Err(Failed::invalid(format!("{name} is wanted, and {:?} was sent", any.type_url)));
    }
    Ok(&any.value)
}
