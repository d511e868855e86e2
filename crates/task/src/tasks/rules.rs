//! The calls that each state allows: the Go shim's `init_state.go` and `exec_state.go` as a table. One row is sharedroot's own:
//! for `ResizePty` of an init process that has ended, the Go shim has no rule, and fails because its console is closed.

use super::container::State;
use super::refusal::Refusal;
use crate::Method;

/// Whether the init process may have the call.
pub(super) fn of_init(method: Method, state: State) -> Result<(), Refusal> {
    let text = match (state, method) {
        (State::Created, Method::Pause) => "cannot pause task in created state",
        (State::Created, Method::Resume) => "cannot resume task in created state",
        (State::Created, Method::Checkpoint) => "cannot checkpoint a task in created state",
        (State::Running, Method::Resume) => "cannot resume a running process",
        (State::Running, Method::Start) => "cannot start a running process",
        (State::Running, Method::Delete) => "cannot delete a running process",
        (State::Paused, Method::Pause) => "cannot pause a paused container",
        (State::Paused, Method::Start) => "cannot start a paused process",
        (State::Paused, Method::Delete) => "cannot delete a paused process",
        (State::Paused, Method::Exec) => "cannot exec in a paused state",
        (State::Stopped, Method::Pause) => "cannot pause a stopped container",
        (State::Stopped, Method::Resume) => "cannot resume a stopped container",
        (State::Stopped, Method::Update) => "cannot update a stopped container",
        (State::Stopped, Method::Checkpoint) => "cannot checkpoint a stopped container",
        (State::Stopped, Method::Start) => "cannot start a stopped process",
        (State::Stopped, Method::Exec) => "cannot exec in a stopped state",
        (State::Stopped, Method::ResizePty) => "cannot resize a stopped container",
        _ => return Ok(()),
    };
    Err(Refusal::State(text))
}

/// Whether an exec may have the call.
pub(super) fn of_exec(method: Method, state: State) -> Result<(), Refusal> {
    let text = match (state, method) {
        (State::Running, Method::Start) => "cannot start a running process",
        (State::Running, Method::Delete) => "cannot delete a running process",
        (State::Stopped, Method::Start) => "cannot start a stopped process",
        (State::Stopped, Method::ResizePty) => "cannot resize a stopped container",
        (State::Created, Method::Kill) => return Err(Refusal::NotStarted),
        (State::Stopped, Method::Kill) => return Err(Refusal::Finished),
        _ => return Ok(()),
    };
    Err(Refusal::State(text))
}
