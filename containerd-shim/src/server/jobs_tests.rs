//! Operations that wait: for their turn, and for a spawner that is stopped.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, io};

use rustix::process::kill_process;
use sharedroot_task::Call;
use sharedroot_task::messages::task::{DeleteRequest, ExecProcessRequest};

use super::turns::MOST_OF_ONE;
use super::*;
use crate::{report, spawner};

fn sockets() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

fn order(call: Call) -> Order {
    Order { call, bundle: "/run/b".into() }
}

fn delete(id: &str) -> Order {
    order(Call::Delete(DeleteRequest { id: id.to_owned(), ..DeleteRequest::default() }))
}

#[test]
fn a_container_that_stops_whoever_enters_it_holds_up_nobody_else() {
    let poll = Poll::new().unwrap();
    let (ours, _spawner) = sockets();
    let mut jobs = Jobs::new(ours, &poll).unwrap();
    let mut begin = |order: Order| {
        let then = Then::Undone(Job::default(), String::new());
        jobs.begin(order, then, &poll);
        assert!(jobs.failed.is_empty());
        (jobs.count(), jobs.waiting.len())
    };
    let exec = |id: &str| {
        let id = id.to_owned();
        order(Call::Exec(ExecProcessRequest { id, ..ExecProcessRequest::default() }))
    };
    for n in 1..=40 {
        assert_eq!(begin(exec("a")), (n.min(MOST_OF_ONE), n.saturating_sub(MOST_OF_ONE)));
    }
    assert_eq!(begin(exec("b")), (MOST_OF_ONE + 1, 32));
    assert_eq!(begin(delete("a")), (MOST_OF_ONE + 2, 32));
    assert!(jobs.next_deadline().is_some_and(|at| at > Instant::now()));
}

/// A process that does not outlive a test that fails: a stopped process does not end by itself.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many operations are asked for at once: more than the spawner's socket takes.
const MANY: usize = 400;

/// This test executes itself, as the spawner.
#[test]
fn what_a_stopped_spawner_cannot_take_is_done_when_it_goes_on() {
    const IS_SPAWNER: &str = "THIS_PROCESS_IS_THE_SPAWNER";
    if env::var_os(IS_SPAWNER).is_some() {
        let socket = io::stdin().as_fd().try_clone_to_owned().unwrap();
        let reports =
            |given: Given| report::send(given.report.as_fd(), &Report::default(), &[]).unwrap();
        return spawner::run(socket, reports).unwrap();
    }
    let poll = Poll::new().unwrap();
    let (ours, theirs) = sockets();
    let mut jobs = Jobs::new(ours, &poll).unwrap();
    // With one thread for tests the harness makes no other thread, which is what a process that forks needs.
    let name = std::thread::current().name().unwrap().to_owned();
    let spawner = Command::new(env::current_exe().unwrap())
        .args(["--exact", &name, "--test-threads=1"])
        .env(IS_SPAWNER, "1")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&spawner);
    let mut spawner = Killed(spawner);
    kill_process(pid, Signal::STOP).unwrap();
    for n in 0..MANY {
        let then = Then::Undone(Job::default(), n.to_string());
        jobs.begin(delete(&format!("c{n}")), then, &poll);
        assert!(jobs.failed.is_empty(), "order {n}: {:?}", jobs.failed);
    }
    let taken = jobs.count();
    assert!(taken < MANY, "the socket takes all");
    assert_eq!(jobs.waiting.len(), MANY - taken);
    // The server sleeps while the socket is full.
    assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), []);

    kill_process(pid, Signal::CONT).unwrap();
    let mut done = BTreeSet::new();
    while done.len() < MANY {
        let tokens = poll.wait(Some(Duration::from_secs(60))).unwrap();
        assert!(!tokens.is_empty(), "{} of {MANY} are done, and nothing happens", done.len());
        for token in tokens {
            match token {
                Token::Spawner => assert!(jobs.announced(&poll).unwrap().is_empty()),
                Token::Report(number) => jobs.reported(number, &poll),
                Token::Helper(number) => {
                    let ended = jobs.helper_ended(number, &poll).into_iter();
                    done.extend(ended.map(|Ended { then, result, .. }| {
                        assert!(result.is_ok(), "{then:?}: {result:?}");
                        format!("{then:?}")
                    }));
                }
                other => panic!("{other:?}"),
            }
            jobs.try_again();
            assert!(jobs.begin_next(&poll).is_none());
        }
    }
    assert_eq!((jobs.count(), jobs.waiting.len()), (0, 0));
    // Nothing is waited for any more that happens all the time.
    assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), []);
    drop(jobs);
    assert!(spawner.0.wait().unwrap().success());
}
