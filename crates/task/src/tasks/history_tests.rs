//! Random histories: calls, results and ends in any order, with a small model of the kernel and of the program that does the
//! work. At each step the rules for events hold. Each call is answered once, and nothing is left at the end.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;

use super::container::{Exit, Pids};
use super::effect::{Effect, Job, Outcome, Work};
use super::machine::Tasks;
use super::refusal::Refusal;
use super::target::{Reach, Target, Ticket};
use crate::messages::task::*;
use crate::messages::{Any, Timestamp};
use crate::{Answer, Call, Code, Event, Id, Method};

const AT: Timestamp = Timestamp { seconds: 9, nanos: 9 };

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Call(Method, u8, u8),
    /// Some work is done. Another step reports the result.
    Work(Index, bool),
    Tell(Index),
    Die(Index),
    Reap(Index),
    Disconnect,
    Announce(u8),
    GiveUp(u8),
    Shutdown(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let method = prop::sample::select(vec![
        Method::Create,
        Method::Start,
        Method::Start,
        Method::Exec,
        Method::Delete,
        Method::Kill,
        Method::Pause,
        Method::Resume,
        Method::Wait,
        Method::Update,
        Method::State,
    ]);
    let index = any::<Index>;
    prop_oneof![
        6 => (method, 0..2_u8, 0..3_u8).prop_map(|(method, id, exec)| Step::Call(method, id, exec)),
        4 => (index(), prop::bool::weighted(0.2)).prop_map(|(at, fails)| Step::Work(at, fails)),
        4 => index().prop_map(Step::Tell),
        1 => index().prop_map(Step::Die),
        2 => index().prop_map(Step::Reap),
        1 => Just(Step::Disconnect),
        1 => (0..2_u8).prop_map(Step::Announce),
        1 => (0..2_u8).prop_map(Step::GiveUp),
        1 => (0..2_u8).prop_map(Step::Shutdown),
    ]
}

fn call(method: Method, id: u8, exec: u8) -> Call {
    let id = name(id);
    let exec_id = if exec == 0 { String::new() } else { format!("e{exec}") };
    match method {
        Method::Create => Call::Create(CreateTaskRequest { id, ..Default::default() }),
        Method::Start => Call::Start(StartRequest { id, exec_id }),
        Method::Exec => {
            let spec = Some(Any::default());
            Call::Exec(ExecProcessRequest {
                id,
                exec_id: format!("e{exec}"),
                spec,
                ..Default::default()
            })
        }
        Method::Delete => Call::Delete(DeleteRequest { id, exec_id }),
        Method::Kill => Call::Kill(KillRequest { id, exec_id, signal: 9, all: false }),
        Method::Pause => Call::Pause(PauseRequest { id }),
        Method::Resume => Call::Resume(ResumeRequest { id }),
        Method::Wait => Call::Wait(WaitRequest { id, exec_id }),
        Method::Update => Call::Update(UpdateTaskRequest {
            id,
            resources: Some(Any::default()),
            ..Default::default()
        }),
        _ => Call::State(StateRequest { id, exec_id }),
    }
}

/// What the events so far say about a container.
#[derive(Debug, Default)]
struct Told {
    started: bool,
    paused: bool,
    ended: bool,
    added: BTreeSet<String>,
    execs_started: BTreeSet<String>,
    execs_ended: BTreeSet<String>,
}

/// The machine and its surroundings.
#[derive(Default)]
struct World {
    tasks: Tasks,
    /// Work that is not done yet.
    todo: BTreeMap<Job, Work>,
    /// Work that is done, with the result that will be reported.
    done: BTreeMap<Job, (Work, Outcome)>,
    living: BTreeMap<u32, Target>,
    /// Processes that have died and are not reaped.
    dead: BTreeMap<u32, Target>,
    /// Processes that were reaped before their start was reported.
    unknown: BTreeSet<u32>,
    inits: BTreeMap<Id, (u32, Pids)>,
    tickets: u32,
    unanswered: BTreeSet<Ticket>,
    connection: u64,
    /// Unanswered calls of a connection that has ended. Calls whose work has begun are answered; waiting calls are not.
    lost: BTreeSet<Ticket>,
    told: BTreeMap<String, Told>,
    announced: BTreeSet<Id>,
}

fn name(id: u8) -> String {
    format!("c{id}")
}

impl World {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Call(method, id, exec) => self.call(call(*method, *id, *exec)),
            Step::Work(at, fails) => {
                if let Some(job) = pick(&self.todo, at) {
                    self.work(job, *fails);
                }
            }
            Step::Tell(at) => {
                if let Some(job) = pick(&self.done, at) {
                    self.tell(job);
                }
            }
            Step::Die(at) => {
                if let Some(pid) = pick(&self.living, at) {
                    self.die(pid);
                }
            }
            Step::Reap(at) => {
                if let Some(pid) = pick(&self.dead, at) {
                    self.reap(pid);
                }
            }
            Step::Disconnect => {
                self.tasks.disconnected(self.connection);
                self.connection += 1;
                self.lost.append(&mut self.unanswered);
            }
            Step::Announce(id) => self.announce(*id),
            Step::GiveUp(id) => self.give_up(&name(*id).parse().unwrap()),
            Step::Shutdown(id) => {
                let id = name(*id);
                self.announced.remove(id.as_str());
                self.call(Call::Shutdown(ShutdownRequest { id, now: false }));
            }
        }
        self.compare();
    }

    fn announce(&mut self, id: u8) {
        let id: Id = name(id).parse().unwrap();
        let is_there = self.told.contains_key(id.as_str()) || self.is_being_made(&id);
        match self.tasks.announce(id.clone(), String::new()) {
            Ok(()) => drop(self.announced.insert(id)),
            Err(refusal) => assert_eq!(refusal, Refusal::ContainerExists(id), "{is_there}"),
        }
    }

    fn give_up(&mut self, id: &Id) {
        self.announced.remove(id);
        let effects = self.tasks.give_up(id);
        self.see(effects);
    }

    fn is_being_made(&self, id: &Id) -> bool {
        let mut works = self.todo.values().chain(self.done.values().map(|(work, _)| work));
        works.any(|work| matches!(work, Work::Create(of, _) if of == id))
    }

    /// The shim ends when nothing needs it, and a new one takes its place.
    fn shut_down(&mut self) {
        assert!(self.told.is_empty() && self.announced.is_empty(), "{:?}", self.announced);
        assert!(!["c0", "c1"].iter().any(|id| self.is_being_made(&id.parse().unwrap())));
        let id: Id = "c0".parse().unwrap();
        assert_eq!(self.tasks.announce(id, String::new()), Err(Refusal::Ending));
        let ticket = Ticket { connection: u64::MAX, stream: 1 };
        let effects = self.tasks.call(ticket, call(Method::Create, 0, 0));
        assert_eq!(effects, [Effect::Answer(ticket, Err(Refusal::Ending))]);
        self.tasks = Tasks::default();
        (self.todo, self.done) = Default::default();
        self.lost.append(&mut self.unanswered);
    }

    fn call(&mut self, call: Call) {
        self.tickets += 2;
        let ticket = Ticket { connection: self.connection, stream: self.tickets };
        self.unanswered.insert(ticket);
        let effects = self.tasks.call(ticket, call);
        self.see(effects);
    }

    fn tell(&mut self, job: Job) {
        let (_, outcome) = self.done.remove(&job).unwrap();
        if let Outcome::Created { pid, .. } | Outcome::Started { pid } = outcome {
            self.unknown.remove(&pid);
        }
        let effects = self.tasks.done(job, outcome);
        self.see(effects);
    }

    fn reap(&mut self, pid: u32) {
        self.dead.remove(&pid).unwrap();
        let is_untold = |(_, outcome): &(Work, Outcome)| match outcome {
            Outcome::Created { pid: of, .. } | Outcome::Started { pid: of } => *of == pid,
            _ => false,
        };
        if self.done.values().any(is_untold) {
            self.unknown.insert(pid);
        }
        let effects = self.tasks.ended(pid, Exit { status: pid, at: AT });
        self.see(effects);
    }

    fn die(&mut self, pid: u32) {
        let Some(target) = self.living.remove(&pid) else { return };
        // The kernel kills the other processes of the PID namespace first.
        if target.exec.is_none()
            && self.inits.get(&target.container).is_some_and(|(_, pids)| *pids == Pids::Own)
        {
            self.die_all(&target.container);
        }
        self.dead.insert(pid, target);
    }

    fn die_all(&mut self, container: &Id) {
        let all = self.living.iter().filter(|(_, target)| target.container == *container);
        for pid in all.map(|(pid, _)| *pid).collect::<Vec<_>>() {
            self.die(pid);
        }
    }

    /// A free process ID. Like the kernel, the model uses the lowest IDs again.
    fn new_pid(&self) -> u32 {
        let taken = |pid: &u32| {
            self.living.contains_key(pid)
                || self.dead.contains_key(pid)
                || self.unknown.contains(pid)
        };
        (10..).find(|pid| !taken(pid)).unwrap()
    }

    fn work(&mut self, job: Job, fails: bool) {
        let work = self.todo.remove(&job).unwrap();
        let text = "no".to_owned();
        let failed = Outcome::Failed(Refusal::Failed { code: Code::Unknown, text });
        let outcome = match &work {
            _ if fails => failed,
            Work::Create(container, _) => {
                let pid = self.new_pid();
                let pids = if pid.is_multiple_of(2) { Pids::Own } else { Pids::Shared };
                self.inits.insert(container.clone(), (pid, pids));
                self.living.insert(pid, Target { container: container.clone(), exec: None });
                Outcome::Created { pid, pids }
            }
            Work::StartExec(target, _) => {
                let init = self.inits[&target.container].0;
                if self.living.get(&init).is_none_or(|of| of.container != target.container) {
                    failed
                } else {
                    let pid = self.new_pid();
                    self.living.insert(pid, target.clone());
                    Outcome::Started { pid }
                }
            }
            Work::Delete(Target { container, exec: None })
            | Work::Kill { target: Target { container, .. }, reach: Reach::Container, .. } => {
                self.die_all(&container.clone());
                Outcome::Done
            }
            Work::Kill { target, .. } => {
                let found = self.living.iter().find(|(_, of)| *of == target);
                if let Some(pid) = found.map(|(pid, _)| *pid) {
                    self.die(pid);
                }
                Outcome::Done
            }
            _ => Outcome::Done,
        };
        self.done.insert(job, (work, outcome));
    }

    fn see(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Answer(ticket, _) => {
                    let is_first = self.unanswered.remove(&ticket) || self.lost.remove(&ticket);
                    assert!(is_first, "{ticket:?} is answered twice");
                }
                Effect::Publish(event) => self.hear(&event),
                Effect::Run(job, work) => {
                    self.is_alone(&work);
                    if let Work::Create(id, _) = &work {
                        self.announced.remove(id);
                    }
                    self.todo.insert(job, work);
                }
                Effect::Report(..) => {}
                Effect::Shutdown => self.shut_down(),
            }
        }
    }

    /// While work holds a process, no other work is done on the process. The machine's own kill and thaw come after the end of
    /// the init process.
    fn is_alone(&self, work: &Work) {
        let held = |work: &Work| match work {
            Work::Create(id, _) | Work::StartInit(id) | Work::Pause(id) | Work::Update(id, _) => {
                Some(Target { container: id.clone(), exec: None })
            }
            Work::StartExec(target, _) | Work::Delete(target) => Some(target.clone()),
            _ => None,
        };
        let mut others = self.todo.values().chain(self.done.values().map(|(work, _)| work));
        if let Some(target) = held(work) {
            assert!(others.all(|other| held(other).as_ref() != Some(&target)), "{work:?}");
        }
        if let Work::StartExec(target, _) = work {
            assert!(!self.told[target.container.as_str()].ended, "an exec after the end");
        }
    }

    /// Checks the rules for events (containerd's docs/runtime-v2.md).
    fn hear(&mut self, event: &Event) {
        let id = event.container().to_owned();
        if let Event::Create(_) = event {
            assert!(self.told.insert(id, Told::default()).is_none(), "created twice");
            return;
        }
        let told = self.told.get_mut(&id).expect("created before all");
        let is_first = match event {
            Event::Start(_) => !told.ended && !std::mem::replace(&mut told.started, true),
            Event::Paused(_) => !told.ended && !std::mem::replace(&mut told.paused, true),
            Event::Resumed(_) => !told.ended && std::mem::replace(&mut told.paused, false),
            Event::ExecAdded(of) => {
                told.execs_started.remove(&of.exec_id);
                told.execs_ended.remove(&of.exec_id);
                told.added.insert(of.exec_id.clone());
                !told.ended
            }
            Event::ExecStarted(of) => {
                !told.ended
                    && told.added.contains(&of.exec_id)
                    && told.execs_started.insert(of.exec_id.clone())
            }
            Event::Exit(of) if of.id == id => {
                told.execs_started == told.execs_ended && !std::mem::replace(&mut told.ended, true)
            }
            Event::Exit(of) => {
                assert_eq!(of.exit_status, of.pid, "the end of another process");
                !told.ended
                    && told.execs_started.contains(&of.id)
                    && told.execs_ended.insert(of.id.clone())
            }
            Event::Delete(_) => told.ended && self.told.remove(&id).is_some(),
            _ => true,
        };
        assert!(is_first, "{event:?} has its place elsewhere");
    }

    /// Checks that the answer of `State` agrees with the events.
    fn compare(&mut self) {
        let ids: Vec<_> = self.told.keys().cloned().collect();
        for id in ids {
            let told = &self.told[&id];
            let wanted = match told {
                Told { ended: true, .. } => Status::Stopped,
                Told { paused: true, .. } => Status::Paused,
                Told { started: true, .. } => Status::Running,
                _ => Status::Created,
            };
            let ticket = Ticket { connection: u64::MAX, stream: 1 };
            let request = StateRequest { id, exec_id: String::new() };
            let effects = self.tasks.call(ticket, Call::State(request));
            let [Effect::Answer(_, Ok(Answer::State(state)))] = &effects[..] else {
                panic!("{effects:?}")
            };
            let found = Status::try_from(state.status).unwrap();
            assert!(
                found == wanted || (found, wanted) == (Status::Pausing, Status::Running),
                "{found:?}, {wanted:?}"
            );
        }
    }

    /// Ends everything that is unfinished, and checks that nothing is left.
    fn finish(&mut self) {
        for round in 0.. {
            assert!(round < 1000, "work without end");
            while let Some(job) = self.todo.keys().next().copied() {
                self.work(job, false);
            }
            if let Some(job) = self.done.keys().next().copied() {
                self.tell(job);
            } else if let Some(pid) = self.living.keys().next().copied() {
                self.die(pid);
            } else if let Some(pid) = self.dead.keys().next().copied() {
                self.reap(pid);
            } else if let Some(id) = self.told.keys().next().cloned() {
                self.call(Call::Delete(DeleteRequest { id, exec_id: String::new() }));
            } else if let Some(id) = self.announced.iter().next().cloned() {
                self.give_up(&id);
            } else {
                break;
            }
        }
        assert_eq!(self.unanswered, BTreeSet::new());
        assert!(self.tasks.is_empty());
        assert!(
            self.tasks.by_pid.is_empty()
                && self.tasks.given_up.is_empty()
                && self.tasks.early.is_empty()
                && self.tasks.jobs.is_empty()
        );
    }
}

fn pick<K: Copy, V>(from: &BTreeMap<K, V>, at: &Index) -> Option<K> {
    (!from.is_empty()).then(|| *at.get(&from.keys().collect::<Vec<_>>()).to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_the_order_holds_and_nothing_is_left(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::default();
        steps.iter().for_each(|step| world.step(step));
        world.finish();
    }
}
