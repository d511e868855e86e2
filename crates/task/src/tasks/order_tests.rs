//! The order of events, answers and work: cases by name.

use super::container::{Exit, Pids};
use super::effect::{Effect, Outcome, Work};
use super::refusal::Refusal;
use super::table_tests::{Driver, job};
use super::target::Reach;
use crate::messages::Timestamp;
use crate::messages::task::WaitResponse;
use crate::{Answer, Code, Method};

/// A running container with a running exec; their process IDs are 7 and 8.
fn running(pids: Pids) -> Driver {
    let mut driver = Driver::new();
    driver.complete(Method::Create, "", Outcome::Created { pid: 7, pids });
    driver.complete(Method::Start, "", Outcome::Done);
    driver.send(Method::Exec, "e1");
    driver.complete(Method::Start, "e1", Outcome::Started { pid: 8 });
    driver
}

const END: Exit = Exit { status: 3, at: Timestamp { seconds: 9, nanos: 9 } };

fn failed() -> Outcome {
    Outcome::Failed(Refusal::Failed { code: Code::Unknown, text: "no".to_owned() })
}

/// Topics, answers and work, in their order.
fn order(effects: &[Effect]) -> Vec<&'static str> {
    effects
        .iter()
        .map(|effect| match effect {
            Effect::Publish(event) => event.topic(),
            Effect::Answer(_, Ok(_)) => "answer",
            Effect::Answer(_, Err(_)) => "refusal",
            Effect::Run(_, Work::Kill { reach: Reach::Container, .. }) => "kill all",
            Effect::Run(_, Work::Resume(_)) => "thaw",
            Effect::Run(..) => "work",
            Effect::Report(..) => "report",
            Effect::Shutdown => "shutdown",
        })
        .collect()
}

#[test]
fn an_end_before_the_start_is_told_comes_after_the_start() {
    let mut driver = running(Pids::Own);
    driver.send(Method::Exec, "e2");
    let start = job(&driver.send(Method::Start, "e2"));
    // No exec has this process yet.
    assert_eq!(driver.tasks.ended(9, END), []);
    let effects = driver.tasks.done(start, Outcome::Started { pid: 9 });
    assert_eq!(order(&effects), ["/tasks/exec-started", "answer", "/tasks/exit"]);
}

#[test]
fn an_end_of_nobody_is_forgotten_with_the_last_start() {
    let mut driver = running(Pids::Own);
    // While no start is unfinished, and while the start of another process is unfinished.
    assert_eq!(driver.tasks.ended(10, END), []);
    driver.send(Method::Exec, "e2");
    let start = job(&driver.send(Method::Start, "e2"));
    assert_eq!(driver.tasks.ended(11, END), []);
    driver.tasks.done(start, Outcome::Started { pid: 9 });
    // The process IDs are used again.
    for (exec, pid) in [("e3", 10), ("e4", 11)] {
        driver.send(Method::Exec, exec);
        let effects = driver.complete(Method::Start, exec, Outcome::Started { pid });
        assert_eq!(order(&effects), ["/tasks/exec-started", "answer"]);
    }
}

#[test]
fn an_init_process_that_ends_while_it_is_started_ends_after_its_start() {
    for (outcome, wanted) in [
        (Outcome::Done, &["/tasks/start", "answer", "/tasks/exit"][..]),
        (failed(), &["refusal", "/tasks/exit"]),
    ] {
        let mut driver = Driver::new();
        driver.complete(Method::Create, "", Outcome::Created { pid: 7, pids: Pids::Own });
        let start = job(&driver.send(Method::Start, ""));
        assert_eq!(driver.tasks.ended(7, END), []);
        assert_eq!(order(&driver.tasks.done(start, outcome)), wanted);
    }
}

#[test]
fn an_end_between_start_and_wait_answers_the_wait() {
    let mut driver = running(Pids::Own);
    assert_eq!(order(&driver.tasks.ended(8, END)), ["/tasks/exit"]);
    let effects = driver.send(Method::Wait, "e1");
    let wanted = WaitResponse { exit_status: 3, exited_at: Some(END.at) };
    assert!(matches!(&effects[..], [Effect::Answer(_, Ok(Answer::Wait(end)))] if *end == wanted));
    // Each `Wait` is answered until the exec is deleted.
    assert_eq!(order(&driver.send(Method::Wait, "e1")), ["answer"]);
    let effects = driver.complete(Method::Delete, "e1", Outcome::Done);
    assert_eq!(order(&effects), ["answer"]);
    assert_eq!(order(&driver.send(Method::Wait, "e1")), ["refusal"]);
}

#[test]
fn the_init_process_ends_last_and_no_exec_starts_after_it() {
    for (pids, wanted) in [(Pids::Own, vec![]), (Pids::Shared, vec!["kill all"])] {
        let mut driver = running(pids);
        driver.send(Method::Exec, "e2");
        driver.send(Method::Wait, "");
        assert_eq!(order(&driver.tasks.ended(7, END)), wanted);
        // The container still runs, but no exec starts.
        let effects = driver.send(Method::Start, "e2");
        let text = "container c1 init process is not running: failed precondition";
        let [Effect::Answer(_, Err(refusal))] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!(refusal.to_string(), text);
        assert_eq!(refusal.code(), Code::FailedPrecondition);
        let effects = driver.tasks.ended(8, END);
        assert_eq!(order(&effects), ["/tasks/exit", "/tasks/exit", "answer"]);
    }
}

#[test]
fn an_exec_that_is_being_started_holds_the_end_of_the_init_process() {
    let mut driver = running(Pids::Own);
    driver.tasks.ended(8, END);
    driver.send(Method::Exec, "e2");
    let start = job(&driver.send(Method::Start, "e2"));
    assert_eq!(driver.tasks.ended(7, END), []);
    assert_eq!(order(&driver.tasks.done(start, failed())), ["refusal", "/tasks/exit"]);
}

#[test]
fn a_frozen_container_whose_init_process_was_killed_is_thawed_once() {
    let mut driver = running(Pids::Own);
    driver.complete(Method::Pause, "", Outcome::Done);
    let effects = driver.tasks.ended(7, END);
    assert_eq!(order(&effects), ["thaw"]);
    assert_eq!(driver.tasks.done(job(&effects), Outcome::Done), []);
    assert_eq!(order(&driver.tasks.ended(8, END)), ["/tasks/exit", "/tasks/exit"]);
}

#[test]
fn a_container_that_never_ran_is_gone_only_after_its_end() {
    let mut driver = Driver::new();
    driver.complete(Method::Create, "", Outcome::Created { pid: 7, pids: Pids::Own });
    driver.send(Method::Exec, "e1");
    driver.send(Method::Wait, "e1");
    assert_eq!(driver.complete(Method::Delete, "", Outcome::Done), []);
    assert_eq!(order(&driver.send(Method::Start, "e1")), ["refusal"]);
    let effects = driver.tasks.ended(7, END);
    assert_eq!(order(&effects), ["/tasks/exit", "/tasks/delete", "answer", "refusal"]);
    assert!(driver.tasks.is_empty());
}

#[test]
fn a_container_is_gone_only_after_what_is_done_to_its_execs() {
    let mut driver = running(Pids::Own);
    driver.tasks.ended(8, END);
    driver.tasks.ended(7, END);
    let exec = job(&driver.send(Method::Delete, "e1"));
    assert_eq!(driver.complete(Method::Delete, "", Outcome::Done), []);
    assert_eq!(order(&driver.send(Method::Create, "")), ["refusal"]);
    let effects = driver.tasks.done(exec, Outcome::Done);
    assert_eq!(order(&effects), ["answer", "/tasks/delete", "answer"]);
    assert_eq!(driver.tasks.done(exec, Outcome::Done), []);
}

#[test]
fn a_failure_that_nobody_waits_for_is_reported() {
    let mut driver = running(Pids::Shared);
    let kill = job(&driver.tasks.ended(7, END));
    assert_eq!(order(&driver.tasks.done(kill, failed())), ["report"]);
}

#[test]
fn nobody_waits_on_a_connection_that_has_ended() {
    let mut driver = running(Pids::Own);
    driver.send(Method::Wait, "");
    driver.send(Method::Wait, "e1");
    driver.tasks.disconnected(2);
    assert_eq!(order(&driver.tasks.ended(8, END)), ["/tasks/exit", "answer"]);
    driver.tasks.disconnected(1);
    assert_eq!(order(&driver.tasks.ended(7, END)), ["/tasks/exit"]);
}

#[test]
fn a_kill_for_memory_while_the_init_process_is_started_is_told_after_the_start() {
    let mut driver = Driver::new();
    driver.complete(Method::Create, "", Outcome::Created { pid: 7, pids: Pids::Own });
    let start = job(&driver.send(Method::Start, ""));
    assert_eq!(driver.tasks.oom("c1"), []);
    assert_eq!(driver.tasks.ended(7, END), []);
    let effects = driver.tasks.done(start, Outcome::Done);
    assert_eq!(order(&effects), ["/tasks/start", "/tasks/oom", "answer", "/tasks/exit"]);
}
