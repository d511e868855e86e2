//! One more process in a container.

use sharedroot::verbs::Verbs;
use sharedroot_task::messages::task::ExecProcessRequest;

use super::streams::Streams;
use super::{Done, Failed, json};
use crate::report::Report;

/// Starts the process.
///
/// # Errors
/// [`Failed`]; then there is no process.
pub fn exec(verbs: &Verbs, request: &ExecProcessRequest) -> Result<Done, Failed> {
    if request.terminal {
        return Err(Failed::unsupported("a terminal"));
    }
    let process = json(request.spec.as_ref(), "Process")?;
    let streams = Streams::open(&request.stdin, &request.stdout, &request.stderr)?;
    let kept = streams.take_places().map_err(|e| Failed::other(format!("streams: {e}")))?;
    let pid = verbs.exec(&request.id, process, None)?;
    let report = Report { pid: pid.as_raw().unsigned_abs(), ..Report::default() };
    Ok(Done { report, kept })
}
