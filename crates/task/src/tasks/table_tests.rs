//! Every call in every state, with its result: the whole table, for comparison with the Go shim's source.

use super::container::{Exit, Pids};
use super::effect::{Effect, Job, Outcome};
use super::machine::Tasks;
use super::refusal::Refusal;
use super::target::Ticket;
use crate::messages::task::*;
use crate::messages::{Any, Timestamp};
use crate::{Answer, Call, Code, Event, Method};

const AT: Timestamp = Timestamp { seconds: 9, nanos: 9 };

/// A call for `c1`, or for its exec.
fn call(method: Method, exec: &str) -> Call {
    let (id, exec_id) = ("c1".to_owned(), exec.to_owned());
    match method {
        Method::State => Call::State(StateRequest { id, exec_id }),
        Method::Create => Call::Create(CreateTaskRequest {
            id,
            bundle: "/b".to_owned(),
            stdin: "/in".to_owned(),
            terminal: true,
            ..CreateTaskRequest::default()
        }),
        Method::Start => Call::Start(StartRequest { id, exec_id }),
        Method::Delete => Call::Delete(DeleteRequest { id, exec_id }),
        Method::Pids => Call::Pids(PidsRequest { id }),
        Method::Pause => Call::Pause(PauseRequest { id }),
        Method::Resume => Call::Resume(ResumeRequest { id }),
        Method::Checkpoint => Call::Checkpoint(CheckpointTaskRequest { id, ..Default::default() }),
        Method::Kill => Call::Kill(KillRequest { id, exec_id, signal: 15, all: false }),
        Method::Exec => Call::Exec(ExecProcessRequest {
            id,
            exec_id: if exec.is_empty() { "new".to_owned() } else { exec_id },
            spec: Some(Any::default()),
            terminal: true,
            stdin: "/in".to_owned(),
            ..ExecProcessRequest::default()
        }),
        Method::ResizePty => {
            Call::ResizePty(ResizePtyRequest { id, exec_id, width: 80, height: 24 })
        }
        Method::CloseIO => Call::CloseIO(CloseIORequest { id, exec_id, stdin: true }),
        Method::Update => {
            let resources = Some(Any::default());
            Call::Update(UpdateTaskRequest { id, resources, ..Default::default() })
        }
        Method::Wait => Call::Wait(WaitRequest { id, exec_id }),
        Method::Stats => Call::Stats(StatsRequest { id }),
        Method::Connect => Call::Connect(ConnectRequest { id }),
        Method::Shutdown => Call::Shutdown(ShutdownRequest { id, now: true }),
    }
}

/// A machine, with the tickets that it has seen.
pub(super) struct Driver {
    pub tasks: Tasks,
    stream: u32,
}

impl Driver {
    pub fn new() -> Self {
        Self { tasks: Tasks::new(1), stream: 1 }
    }

    pub fn send(&mut self, method: Method, exec: &str) -> Vec<Effect> {
        self.stream += 2;
        let ticket = Ticket { connection: 1, stream: self.stream };
        self.tasks.call(ticket, call(method, exec))
    }

    /// Makes a call, and ends the work that follows from it.
    pub fn complete(&mut self, method: Method, exec: &str, outcome: Outcome) -> Vec<Effect> {
        let effects = self.send(method, exec);
        let job = job(&effects);
        self.tasks.done(job, outcome)
    }
}

pub(super) fn job(effects: &[Effect]) -> Job {
    let mut jobs = effects.iter().filter_map(|effect| match effect {
        Effect::Run(job, _) => Some(*job),
        _ => None,
    });
    let job = jobs.next().unwrap_or_else(|| panic!("no work in {effects:?}"));
    assert_eq!(jobs.next(), None, "{effects:?}");
    job
}

/// A container that calls have brought into a state.
fn init_in(state: &str) -> Driver {
    let mut driver = Driver::new();
    if state == "absent" {
        return driver;
    }
    driver.complete(Method::Create, "", Outcome::Created { pid: 7, pids: Pids::Own });
    if state != "created" {
        driver.complete(Method::Start, "", Outcome::Done);
    }
    match state {
        "paused" => drop(driver.complete(Method::Pause, "", Outcome::Done)),
        "stopped" => drop(driver.tasks.ended(7, Exit { status: 3, at: AT })),
        _ => {}
    }
    driver
}

/// An exec `e1` of a running container. Calls have brought the exec into a state.
fn exec_in(state: &str) -> Driver {
    let mut driver = init_in("running");
    if state == "absent" {
        return driver;
    }
    driver.send(Method::Exec, "e1");
    match state {
        "failed" => {
            let failed =
                Outcome::Failed(Refusal::Failed { code: Code::Unknown, text: "no".to_owned() });
            driver.complete(Method::Start, "e1", failed);
        }
        "running" | "stopped" => {
            driver.complete(Method::Start, "e1", Outcome::Started { pid: 8 });
        }
        _ => {}
    }
    if state == "stopped" {
        driver.tasks.ended(8, Exit { status: 4, at: AT });
    }
    driver
}

/// The result of a call, in one line.
fn got(effects: &[Effect]) -> String {
    let mut lines: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Answer(_, Ok(Answer::State(state))) => {
                let status = Status::try_from(state.status).unwrap();
                Some(format!("{status:?} {}", state.exit_status))
            }
            Effect::Answer(_, Ok(Answer::Wait(end))) => Some(format!("ended {}", end.exit_status)),
            Effect::Answer(_, Ok(Answer::Connect(pids))) => Some(format!("task {}", pids.task_pid)),
            Effect::Answer(_, Ok(answer)) => Some(format!("{answer:?}")),
            Effect::Answer(_, Err(refusal)) => Some(format!("{:?}: {refusal}", refusal.code())),
            Effect::Run(..) => Some("work".to_owned()),
            Effect::Shutdown => Some("ends".to_owned()),
            Effect::Publish(_) | Effect::Report(..) => None,
        })
        .collect();
    if lines.is_empty() {
        lines.push("waits".to_owned());
    }
    lines.join(", ")
}

const GONE: &str = "NotFound: container not created: not found";

const INIT: [&str; 5] = ["absent", "created", "running", "paused", "stopped"];

/// For each method, the result for an init process that does not exist, is created, runs, is paused, has stopped.
const OF_INIT: [(Method, [&str; 5]); 17] = {
    use Method::*;
    [
        (State, [GONE, "Created 0", "Running 0", "Paused 0", "Stopped 3"]),
        (Create, ["work", EXISTS, EXISTS, EXISTS, EXISTS]),
        (
            Start,
            [
                GONE,
                "work",
                "Unknown: cannot start a running process",
                "Unknown: cannot start a paused process",
                "Unknown: cannot start a stopped process",
            ],
        ),
        (
            Delete,
            [
                GONE,
                "work",
                "Unknown: cannot delete a running process",
                "Unknown: cannot delete a paused process",
                "work",
            ],
        ),
        (Pids, [GONE, "work", "work", "work", "work"]),
        (
            Pause,
            [
                GONE,
                "Unknown: cannot pause task in created state",
                "work",
                "Unknown: cannot pause a paused container",
                "Unknown: cannot pause a stopped container",
            ],
        ),
        (
            Resume,
            [
                GONE,
                "Unknown: cannot resume task in created state",
                "Unknown: cannot resume a running process",
                "work",
                "Unknown: cannot resume a stopped container",
            ],
        ),
        (
            Checkpoint,
            [
                GONE,
                "Unknown: cannot checkpoint a task in created state",
                "work",
                "work",
                "Unknown: cannot checkpoint a stopped container",
            ],
        ),
        (Kill, [GONE, "work", "work", "work", "NotFound: process already finished: not found"]),
        (
            Exec,
            [
                GONE,
                "Empty",
                "Empty",
                "Unknown: cannot exec in a paused state",
                "Unknown: cannot exec in a stopped state",
            ],
        ),
        (ResizePty, [GONE, "work", "work", "work", "Unknown: cannot resize a stopped container"]),
        (CloseIO, [GONE, "work", "work", "work", "work"]),
        (Update, [GONE, "work", "work", "work", "Unknown: cannot update a stopped container"]),
        (Wait, [GONE, "waits", "waits", "waits", "ended 3"]),
        (Stats, [GONE, "work", "work", "work", "work"]),
        (Connect, ["task 0", "task 7", "task 7", "task 7", "task 7"]),
        (Shutdown, ["Empty, ends", "Empty", "Empty", "Empty", "Empty"]),
    ]
};

const EXISTS: &str = "AlreadyExists: container c1: already exists";

const EXEC: [&str; 5] = ["absent", "created", "failed", "running", "stopped"];

const NO_EXEC: &str = "NotFound: process does not exist e1: not found";

/// For each method for execs, the result for an exec that does not exist, is created, failed to start, runs, has stopped.
const OF_EXEC: [(Method, [&str; 5]); 8] = {
    use Method::*;
    [
        (State, [NO_EXEC, "Created 0", "Created 255", "Running 0", "Stopped 4"]),
        (
            Start,
            [
                NO_EXEC,
                "work",
                "FailedPrecondition: the start of e1 failed before: failed precondition",
                "Unknown: cannot start a running process",
                "Unknown: cannot start a stopped process",
            ],
        ),
        (Delete, [NO_EXEC, "work", "work", "Unknown: cannot delete a running process", "work"]),
        (
            Kill,
            [
                NO_EXEC,
                UNSTARTED,
                UNSTARTED,
                "work",
                "NotFound: process already finished: not found",
            ],
        ),
        (Exec, ["Empty", TAKEN, TAKEN, TAKEN, TAKEN]),
        (
            ResizePty,
            [NO_EXEC, "Empty", "Empty", "work", "Unknown: cannot resize a stopped container"],
        ),
        (
            CloseIO,
            ["Unknown: process does not exist e1: not found", "work", "work", "work", "work"],
        ),
        (Wait, [NO_EXEC, "waits", "ended 255", "waits", "ended 4"]),
    ]
};

const UNSTARTED: &str = "FailedPrecondition: process not created: failed precondition";

const TAKEN: &str = "AlreadyExists: id e1: already exists";

#[test]
fn every_call_to_the_init_process_in_every_state() {
    let methods: Vec<_> = OF_INIT.iter().map(|(method, _)| *method).collect();
    assert_eq!(methods, Method::ALL);
    for (method, wanted) in OF_INIT {
        for (state, wanted) in INIT.into_iter().zip(wanted) {
            let effects = init_in(state).send(method, "");
            assert_eq!(got(&effects), wanted, "{method} of a container that is {state}");
        }
    }
}

#[test]
fn every_call_to_an_exec_in_every_state() {
    for (method, wanted) in OF_EXEC {
        for (state, wanted) in EXEC.into_iter().zip(wanted) {
            let effects = exec_in(state).send(method, "e1");
            assert_eq!(got(&effects), wanted, "{method} of an exec that is {state}");
        }
    }
}

#[test]
fn every_call_to_an_unknown_container_whatever_else_there_is() {
    for method in Method::ALL {
        let mut driver = init_in("running");
        let other = match call(*method, "e1") {
            Call::Create(_) | Call::Connect(_) | Call::Shutdown(_) => continue,
            Call::Wait(request) => Call::Wait(WaitRequest { id: "../c1".to_owned(), ..request }),
            _ => Call::Kill(KillRequest { id: "c2".to_owned(), ..KillRequest::default() }),
        };
        let effects = driver.tasks.call(Ticket { connection: 1, stream: 99 }, other);
        assert_eq!(got(&effects), GONE);
    }
}

#[test]
fn a_container_is_not_there_until_it_is_made() {
    let mut driver = Driver::new();
    let job = job(&driver.send(Method::Create, ""));
    for method in Method::ALL {
        let wanted = match method {
            Method::Create => EXISTS,
            Method::Connect => "task 0",
            // The shim does not end.
            Method::Shutdown => "Empty",
            _ => GONE,
        };
        assert_eq!(got(&driver.send(*method, "")), wanted, "{method}");
    }
    let failed = Refusal::Failed { code: Code::Unknown, text: "no room".to_owned() };
    let effects = driver.tasks.done(job, Outcome::Failed(failed));
    assert_eq!(got(&effects), "Unknown: no room");
    assert!(driver.tasks.is_empty());
    assert_eq!(got(&driver.send(Method::Create, "")), "work");
}

#[test]
fn requests_that_no_containerd_sends_are_refused_by_name() {
    let said = |call| {
        let mut driver = exec_in("running");
        got(&driver.tasks.call(Ticket { connection: 1, stream: 99 }, call))
    };
    let id = || "c1".to_owned();
    let create = |id: &str| CreateTaskRequest { id: id.to_owned(), ..Default::default() };
    assert!(said(Call::Create(create("../c2"))).starts_with("InvalidArgument: identifier"));
    assert!(said(Call::Create(create(""))).starts_with("InvalidArgument: an identifier"));
    let restore = CreateTaskRequest { checkpoint: "/c".to_owned(), ..create("c2") };
    let wanted = "Unimplemented: restore from a checkpoint: not implemented";
    assert_eq!(said(Call::Create(restore)), wanted);
    let exec = |exec_id: &str, spec| ExecProcessRequest {
        id: id(),
        exec_id: exec_id.to_owned(),
        spec,
        ..ExecProcessRequest::default()
    };
    assert!(said(Call::Exec(exec("", Some(Any::default())))).starts_with("InvalidArgument: "));
    let wanted = "InvalidArgument: the request has no process: invalid argument";
    assert_eq!(said(Call::Exec(exec("e2", None))), wanted);
    let kill = KillRequest { id: id(), signal: 65, ..KillRequest::default() };
    assert_eq!(said(Call::Kill(kill)), "InvalidArgument: 65 is no signal: invalid argument");
    let resize = ResizePtyRequest { id: id(), width: 65_536, ..Default::default() };
    assert_eq!(
        said(Call::ResizePty(resize)),
        "InvalidArgument: 65536 is no width: invalid argument"
    );
    let update = UpdateTaskRequest { id: id(), ..UpdateTaskRequest::default() };
    let wanted = "InvalidArgument: the request has no resources: invalid argument";
    assert_eq!(said(Call::Update(update)), wanted);
}

#[test]
fn while_a_container_is_being_frozen_its_state_says_so() {
    let mut driver = exec_in("running");
    let pause = job(&driver.send(Method::Pause, ""));
    for exec in ["", "e1"] {
        assert_eq!(got(&driver.send(Method::State, exec)), "Pausing 0");
    }
    driver.tasks.done(pause, Outcome::Done);
    for exec in ["", "e1"] {
        assert_eq!(got(&driver.send(Method::State, exec)), "Paused 0");
    }
}

#[test]
fn calls_wait_for_what_is_done_to_their_process_and_for_nothing_else() {
    let mut driver = exec_in("running");
    let pause = job(&driver.send(Method::Pause, ""));
    assert_eq!(got(&driver.send(Method::Exec, "e2")), "waits");
    assert_eq!(got(&driver.send(Method::Resume, "")), "waits");
    assert_eq!(got(&driver.send(Method::Kill, "")), "waits");
    // These calls do not wait.
    for method in [Method::Pids, Method::Stats, Method::CloseIO] {
        assert_eq!(got(&driver.send(method, "")), "work");
    }
    assert_eq!(got(&driver.send(Method::Kill, "e1")), "work");
    // The calls are handled in the order in which they came: the exec is refused, the container thawed, and the signal waits
    // again.
    let effects = driver.tasks.done(pause, Outcome::Done);
    assert_eq!(got(&effects), "Empty, Unknown: cannot exec in a paused state, work");
    assert_eq!(got(&driver.tasks.done(job(&effects), Outcome::Done)), "Empty, work");
}

#[test]
fn a_result_of_other_work_is_an_error_and_no_state() {
    let mut driver = init_in("created");
    let effects = driver.complete(Method::Start, "", Outcome::Pids(Vec::new()));
    assert_eq!(got(&effects), "Internal: the result belongs to other work");
    assert_eq!(got(&driver.send(Method::State, "")), "Created 0");
}

#[test]
fn execs_are_named_among_the_processes() {
    let mut driver = exec_in("running");
    let effects = driver.complete(Method::Pids, "", Outcome::Pids(vec![7, 8, 9]));
    let [Effect::Answer(_, Ok(Answer::Pids(pids)))] = &effects[..] else { panic!("{effects:?}") };
    let name = |info: &ProcessInfo| {
        let details = info.info.as_ref()?.read::<crate::messages::options::runc::ProcessDetails>();
        Some(details.unwrap().unwrap().exec_id)
    };
    let named: Vec<_> = pids.processes.iter().map(|info| (info.pid, name(info))).collect();
    assert_eq!(named, [(7, None), (8, Some("e1".to_owned())), (9, None)]);
}

#[test]
fn an_event_for_memory_needs_a_container() {
    let mut driver = init_in("running");
    let effects = driver.tasks.oom("c1");
    assert!(matches!(&effects[..], [Effect::Publish(Event::Oom(_))]), "{effects:?}");
    assert_eq!(driver.tasks.oom("c2"), []);
}
