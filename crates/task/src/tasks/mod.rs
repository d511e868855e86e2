//! The tasks of a shim as a state machine: calls, results of work and ends of processes go in; answers, events and work to do
//! come out. No function here asks the kernel or the clock, so that tests can try every order of inputs.
//!
//! The states, the errors and their texts are those of containerd's Go shim (v1.7.24, `runtime/v2/runc/task/service.go`,
//! `pkg/process/*_state.go`), because clients compare codes, and some clients compare texts. These are the differences, with
//! their reasons:
//! - `Create` of an ID that exists or is being made is refused with `AlreadyExists`. The Go shim mounts over the first
//!   container's rootfs and then fails with `Unknown`.
//! - `State` never waits. In the Go shim `State` waits behind a hanging `Start`.
//! - `Delete` of a container that was never started answers after the init process has ended. So the exit event comes before
//!   the delete event, as containerd's documentation demands. The Go shim leaves this order to chance.
//! - An exec whose start failed cannot be started again (the Go shim panics if the second start fails, too). Its exit status is
//!   255, containerd's "unknown"; the Go shim answers 0.
//! - A `Wait` for an exec that is deleted before its start is refused. In the Go shim such a `Wait` never ends.
//! - A restore from a checkpoint is refused with `Unimplemented`.
//! - A request without its specification or resources, and a number that is no signal or no size, is refused with
//!   `InvalidArgument`. The Go shim panics, fails with `Unknown`, or cuts the number.
//! - While `Create` is unfinished, its container does not exist for other calls, as in 2.x, and the shim does not end. In 1.7
//!   all calls wait for every `Create`.
//! - A shim that ends takes no container any more. The Go shim takes some until its process ends.
//! - A call or an exec for which there is no room is refused with `ResourceExhausted`. The Go shim has no bounds.
//! - A call that waits behind other work is forgotten when its connection ends. The Go shim carries such a call out later.
//!
//! | module | story |
//! |---|---|
//! | `machine` | the state, and the functions that all inputs use |
//! | `calls` | a call is refused, answered, queued, or turned into work |
//! | `results` | the result of work |
//! | `ends` | the end of a process, and the order of the events |
//! | `container` | a container, its processes and their states |
//! | `held`, `room` | what peers make the machine keep, and its bounds |
//! | `rules` | which call is allowed in which state |
//! | `announced` | how long the shim must stay |
//! | `effect` | the effects that the machine asks for |
//! | `target`, `addressed` | who waits for an answer, and which process is meant; which process a call is for |
//! | `refusal` | why a call fails |

mod addressed;
mod announced;
mod calls;
mod container;
mod effect;
mod ends;
mod held;
mod machine;
mod refusal;
mod results;
mod room;
mod rules;
mod target;

#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod table_tests;

pub use container::{Exit, Pids, State};
pub use effect::{Effect, Job, Outcome, Work};
pub use machine::Tasks;
pub use refusal::Refusal;
pub use room::{MAX_EXECS, MAX_QUEUED};
pub use target::{Reach, Target, Ticket};
