//! containerd's shim as data: the calls that a shim gets, its answers, and the work that it must do. There are no system calls,
//! no threads and no async runtime. Bytes and ends of processes go in; bytes and work to do come out. The program that uses
//! this crate holds the sockets and does the work.
//!
//! | module | story |
//! |---|---|
//! | [`ttrpc`] | frames and connections |
//! | [`messages`] | containerd's messages, compared with its definitions |
//! | `service` | the methods of the task service, which v2 and v3 share |
//! | `event`, `queue` | what is published, and the order in which events go out |
//! | `tasks` | containers and execs as a state machine |
//! | [`start`] | the command line of a shim's program, its standard input, and what it prints |
//! | [`stream`] | where a standard stream leads |
//! | `decode` | reads a message whose number of entries has a bound |
//! | `code`, `id` | why a call fails; the names that containerd gives |
//! | `fuzz.rs` | the functions that the fuzz target calls |
//!
//! What others send has bounds. A call beyond a bound is refused with `ResourceExhausted`, and the text names the bound:
//!
//! | bound | of what |
//! |---|---|
//! | [`ttrpc::MAX_PAYLOAD`] | the bytes of a message |
//! | [`MAX_ENTRIES`] | the entries of a message |
//! | [`ttrpc::MAX_OPEN`] | the unfinished calls of a connection, including calls whose stream was refused in the meantime |
//! | [`ttrpc::MAX_WAITING`] | the bytes of answers that a peer leaves unread; beyond this bound the peer's bytes are not read |
//! | [`MAX_QUEUED`] | the bytes of calls that wait for other work on their process |
//! | [`MAX_EXECS`] | the bytes of execs that are not deleted |
//! | [`MAX_EVENTS`] | the events that wait for containerd |
//! | [`start::MAX_INPUT`] | the bytes of the standard input of `start` |
//!
//! Unfinished work has no bound here. The program that does the work must set a bound for the calls that do not wait for each
//! other (`Create` of many containers, `Pids`, `Stats`, `CloseIO`).
//!
//! One container from its `Create` to its end, without the sockets:
//!
//! ```
//! use sharedroot_task::messages::task::{CreateTaskRequest, StartRequest};
//! use sharedroot_task::{Call, Effect, Event, Exit, Outcome, Pids, Tasks, Ticket};
//!
//! let mut tasks = Tasks::new(1);
//! let ticket = |stream| Ticket { connection: 1, stream };
//! let request = CreateTaskRequest { id: "c1".into(), bundle: "/run/b".into(), ..Default::default() };
//! let effects = tasks.call(ticket(1), Call::Create(request));
//! let [Effect::Run(job, _)] = effects[..] else { panic!("{effects:?}") };
//! // The container is made elsewhere; its init process waits.
//! let effects = tasks.done(job, Outcome::Created { pid: 7, pids: Pids::Own });
//! assert!(matches!(effects[..], [Effect::Publish(Event::Create(_)), Effect::Answer(_, Ok(_))]));
//! let start = StartRequest { id: "c1".into(), ..Default::default() };
//! let effects = tasks.call(ticket(3), Call::Start(start));
//! let [Effect::Run(job, _)] = effects[..] else { panic!("{effects:?}") };
//! // The process ends before the result of the start is told: the exit event waits for the start event.
//! assert_eq!(tasks.ended(7, Exit { status: 0, at: Default::default() }), []);
//! let effects = tasks.done(job, Outcome::Done);
//! assert!(matches!(effects[0], Effect::Publish(Event::Start(_))));
//! assert!(matches!(effects[2], Effect::Publish(Event::Exit(_))));
//! ```

mod code;
mod decode;
mod event;
#[cfg(test)]
mod field_tests;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod id;
pub mod messages;
mod queue;
mod service;
pub mod start;
pub mod stream;
mod tasks;
pub mod ttrpc;

pub use code::Code;
pub use decode::{MAX_ENTRIES, TooManyEntries, Unreadable};
pub use event::{EVENTS, Event, FORWARD};
pub use id::{Id, NotAnId};
pub use queue::{MAX_EVENTS, MAX_TRIES, Queue};
pub use service::{Answer, Call, Method, NotACall, NotAMethod, SERVICES};
pub use tasks::{
    Effect, Exit, Job, MAX_EXECS, MAX_QUEUED, Outcome, Pids, Reach, Refusal, State, Target, Tasks,
    Ticket, Work,
};
