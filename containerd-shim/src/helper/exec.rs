//! One more process in a container.

use std::path::Path;

use sharedroot::verbs::Verbs;
use sharedroot_task::messages::task::ExecProcessRequest;

use super::console::Console;
use super::create::{Config, Process};
use super::streams::{Asked, Route, Streams, User};
use super::{Done, Failed, json};
use crate::report::{Keep, Report};
use crate::serve::Orders;

/// Starts the process in the container of `bundle`.
///
/// # Errors
/// [`Failed`]; then there is no process.
pub fn exec(
    orders: &Orders,
    verbs: &Verbs,
    bundle: &Path,
    request: &ExecProcessRequest,
) -> Result<Done, Failed> {
    let process = json(request.spec.as_ref(), "Process")?;
    let console = request.terminal.then(|| Console::listen(&orders.socket)).transpose()?;
    let ExecProcessRequest { stdin, stdout, stderr, .. } = request;
    let asked = Asked { stdin, stdout, stderr };
    let user = User { namespace: &orders.namespace, id: &request.exec_id, bundle };
    let streams = match &console {
        Some(_) => Streams::of_terminal(&asked, &user)?,
        None => {
            let route = Route::of(|| profile(bundle, process))?;
            Streams::open(&asked, route, &user)?
        }
    };
    let taken = streams.take_places().map_err(|e| Failed::other(format!("streams: {e}")))?;
    let pid = verbs.exec(&request.id, process, console.as_ref().map(Console::path))?;
    let terminal = console.map(Console::receive).transpose()?;
    let mut kept = taken.keep();
    kept.extend(terminal.map(|terminal| (Keep::Terminal, terminal)));
    let report = Report { pid: pid.as_raw().unsigned_abs(), ..Report::default() };
    Ok(Done { report, kept })
}

/// The AppArmor profile of the process: its own, or else that of the container's init process.
fn profile(bundle: &Path, process: &[u8]) -> Result<String, Failed> {
    // What is wrong with the process is told by the verb, which reads it, too.
    let Process { apparmor_profile } = serde_json::from_slice(process).unwrap_or_default();
    if apparmor_profile.is_empty() {
        return Ok(Config::read(bundle)?.process.apparmor_profile);
    }
    Ok(apparmor_profile)
}
