//! One more process in a container.

use sharedroot::verbs::Verbs;
use sharedroot_task::messages::task::ExecProcessRequest;

use super::console::Console;
use super::streams::Streams;
use super::{Done, Failed, json};
use crate::report::{Keep, Report};
use crate::serve::Orders;

/// Starts the process.
///
/// # Errors
/// [`Failed`]; then there is no process.
pub fn exec(orders: &Orders, verbs: &Verbs, request: &ExecProcessRequest) -> Result<Done, Failed> {
    let process = json(request.spec.as_ref(), "Process")?;
    let console = request.terminal.then(|| Console::listen(&orders.socket)).transpose()?;
    let streams = match &console {
        Some(_) => Streams::of_terminal(&request.stdin, &request.stdout)?,
        None => Streams::open(&request.stdin, &request.stdout, &request.stderr)?,
    };
    let mut kept = streams.take_places().map_err(|e| Failed::other(format!("streams: {e}")))?;
    let pid = verbs.exec(&request.id, process, console.as_ref().map(Console::path))?;
    if let Some(console) = console {
        kept.push((Keep::Terminal, console.receive()?));
    }
    let report = Report { pid: pid.as_raw().unsigned_abs(), ..Report::default() };
    Ok(Done { report, kept })
}
