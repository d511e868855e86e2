//! Which process a call is for.

use super::refusal::Refusal;
use super::target::Target;
use crate::{Call, Id, Method};

/// The process that a call is for. `Exec` is for the init process, because it makes an exec.
pub(super) fn target(container: &Id, call: &Call) -> Result<Target, Refusal> {
    let exec = match exec_of(call) {
        None => None,
        // A text that is not an ID cannot be the ID of an existing exec.
        Some(id) => Some(id.parse().map_err(|_| no_exec(call.method(), id))?),
    };
    Ok(Target { container: container.clone(), exec })
}

/// The refusal of a call for an exec that is not there.
pub(super) fn no_exec(method: Method, id: &str) -> Refusal {
    match method {
        Method::CloseIO => Refusal::NoExecWithoutCode(id.to_owned()),
        _ => Refusal::NoExec(id.to_owned()),
    }
}

fn exec_of(call: &Call) -> Option<&str> {
    let id = match call {
        Call::State(request) => &request.exec_id,
        Call::Start(request) => &request.exec_id,
        Call::Delete(request) => &request.exec_id,
        Call::Kill(request) => &request.exec_id,
        Call::ResizePty(request) => &request.exec_id,
        Call::CloseIO(request) => &request.exec_id,
        Call::Wait(request) => &request.exec_id,
        _ => return None,
    };
    (!id.is_empty()).then_some(id.as_str())
}
