//! Operations under way: each has a helper, which the spawner clones, and a report.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use sharedroot_task::Job;

use super::poll::{Interest, Poll, Token};
use super::turns;
use crate::order::Order;
use crate::report::{Incoming, Keep, Kind, Report};
use crate::spawner::{Announced, Given, announced, ask};

/// What is done when the operation is.
#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    /// Its result goes to the state machine.
    Tell(Job, Kind),
    /// The operation undid what a helper left that ended without a report; the state machine learns why that one ended.
    Undone(Job, String),
}

/// An operation whose turn has not come, or that the spawner could not take yet.
#[derive(Debug)]
struct Waiting {
    order: Order,
    then: Then,
}

/// An operation with a helper.
#[derive(Debug)]
struct Running {
    order: Order,
    then: Then,
    report: OwnedFd,
    incoming: Incoming,
    /// None until the spawner announces the helper.
    helper: Option<OwnedFd>,
    began: Instant,
}

impl Running {
    /// When it must have ended, if it must.
    fn deadline(&self) -> Option<Instant> {
        turns::patience(&self.order).map(|patience| self.began + patience)
    }
}

/// An operation that has ended.
#[derive(Debug)]
pub struct Ended {
    /// What was asked for.
    pub order: Order,
    /// What to do now.
    pub then: Then,
    /// The report, or how the helper ended without one.
    pub result: Result<(Report, Vec<(Keep, OwnedFd)>), String>,
}

/// The operations of one shim.
#[derive(Debug)]
pub struct Jobs {
    spawner: OwnedFd,
    last: u64,
    running: BTreeMap<u64, Running>,
    /// In the order in which they came. Each one is a call that a client has open, or an undo.
    waiting: VecDeque<Waiting>,
    /// Operations for which no helper could be asked.
    failed: VecDeque<Ended>,
    /// Whether the last try to ask for a helper must be repeated. Until then no operation begins.
    held_up: bool,
    /// What is waited for of the spawner's socket.
    interest: Interest,
}

impl Jobs {
    /// None yet. `spawner` is the socket of the spawner.
    ///
    /// # Errors
    /// The socket cannot be waited for.
    pub fn new(spawner: OwnedFd, poll: &Poll) -> io::Result<Self> {
        let interest = Interest::READ;
        poll.add(&spawner, Token::Spawner, interest)?;
        let (running, waiting, failed) = (BTreeMap::new(), VecDeque::new(), VecDeque::new());
        Ok(Self { spawner, last: 0, running, waiting, failed, held_up: false, interest })
    }

    /// Whether no operation is under way: then every child that is not known is nobody's.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// How many operations are under way.
    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// Begins an operation, now or when its turn comes. [`Self::begin_next`] tells if there is no helper for it.
    pub fn begin(&mut self, order: Order, then: Then, poll: &Poll) {
        match self.held_up || !self.has_room(&order) {
            true => self.waiting.push_back(Waiting { order, then }),
            false => self.start(order, then, poll),
        }
    }

    fn has_room(&self, order: &Order) -> bool {
        turns::has_come(order, self.running.values().map(|running| &running.order))
    }

    fn start(&mut self, order: Order, then: Then, poll: &Poll) {
        self.last += 1;
        match self.hand_over(self.last, &order, poll) {
            Ok(report) => {
                let incoming = Incoming::default();
                let began = Instant::now();
                let running = Running { order, then, report, incoming, helper: None, began };
                self.running.insert(self.last, running);
            }
            Err(error) if self.passes(&error, poll) => {
                self.waiting.push_front(Waiting { order, then });
                self.held_up = true;
            }
            Err(error) => {
                let result = Err(format!("ask for a helper: {error}"));
                self.failed.push_back(Ended { order, then, result });
            }
        }
    }

    /// Whether the reason for which no helper could be asked for passes without the caller. What ends a container must not
    /// fail because much is asked for at once.
    fn passes(&mut self, error: &io::Error, poll: &Poll) -> bool {
        match Errno::from_io_error(error) {
            // The spawner's socket takes some hundred messages. The server is told when the spawner has taken most of them.
            Some(Errno::AGAIN) => self.wait_for(Interest { write: true, ..Interest::READ }, poll),
            // The spawner has ended, which the server is told, too.
            Some(Errno::PIPE | Errno::CONNRESET) => self.wait_for(Interest::READ, poll),
            // Each operation under way gives its descriptors back.
            Some(Errno::MFILE | Errno::NFILE) if !self.running.is_empty() => {
                self.wait_for(Interest::READ, poll)
            }
            _ => false,
        }
    }

    /// Waits for something else of the spawner's socket. Whether that can be waited for.
    fn wait_for(&mut self, interest: Interest, poll: &Poll) -> bool {
        if self.interest != interest {
            if poll.change(&self.spawner, Token::Spawner, interest).is_err() {
                return false;
            }
            self.interest = interest;
        }
        true
    }

    /// An operation has ended, or something has happened to the spawner's socket.
    pub fn try_again(&mut self) {
        self.held_up = false;
    }

    /// Begins the operations whose turn has come. Returns one that got no helper; then the caller asks again.
    pub fn begin_next(&mut self, poll: &Poll) -> Option<Ended> {
        while !self.held_up
            && let Some(at) = self.waiting.iter().position(|waiting| self.has_room(&waiting.order))
        {
            let Waiting { order, then } = self.waiting.remove(at)?;
            self.start(order, then, poll);
        }
        if !self.held_up {
            self.wait_for(Interest::READ, poll);
        }
        self.failed.pop_front()
    }

    /// When the next helper must have ended.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.running.values().filter_map(Running::deadline).min()
    }

    /// Kills the helpers that take too long. Their ends come as any other.
    pub fn end_late(&mut self) {
        let now = Instant::now();
        for running in self.running.values_mut() {
            let late = running.deadline().is_some_and(|deadline| deadline <= now);
            if let Some(helper) = running.helper.as_ref().filter(|_| late) {
                let _ = pidfd_send_signal(helper, Signal::KILL);
                // Not again in each turn, if the kernel takes its time.
                running.began = now;
            }
        }
    }

    fn hand_over(&self, number: u64, order: &Order, poll: &Poll) -> io::Result<OwnedFd> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        let given = Given { order: order.write()?, report: theirs };
        poll.add(&ours, Token::Report(number), Interest::READ)?;
        ask(self.spawner.as_fd(), number, &given).inspect_err(|_| poll.forget(&ours))?;
        Ok(ours)
    }

    /// Takes what the spawner announces: the end of a helper is waited for. Returns operations that got no helper.
    ///
    /// # Errors
    /// The spawner has ended.
    pub fn announced(&mut self, poll: &Poll) -> io::Result<Vec<Ended>> {
        let mut failed = Vec::new();
        while let Some(Announced { number, helper }) = announced(self.spawner.as_fd())? {
            let watched = helper.map_err(io::Error::from_raw_os_error).and_then(|pid| {
                let end = child(pid)?;
                poll.add(&end, Token::Helper(number), Interest::READ)?;
                Ok(end)
            });
            match watched {
                Ok(end) => {
                    if let Some(running) = self.running.get_mut(&number) {
                        running.helper = Some(end);
                    }
                }
                Err(error) => {
                    failed.extend(self.end(number, poll, format!("clone a helper: {error}")));
                }
            }
        }
        Ok(failed)
    }

    /// Uses another spawner. Operations that the old one has not begun have failed.
    ///
    /// # Errors
    /// The socket cannot be waited for.
    pub fn use_spawner(&mut self, spawner: OwnedFd, poll: &Poll) -> io::Result<Vec<Ended>> {
        poll.forget(&self.spawner);
        poll.add(&spawner, Token::Spawner, Interest::READ)?;
        self.interest = Interest::READ;
        self.spawner = spawner;
        let lost = self.running.iter().filter(|(_, running)| running.helper.is_none());
        let lost: Vec<_> = lost.map(|(number, _)| *number).collect();
        let why = "the shim's spawner has ended; try again";
        Ok(lost.into_iter().filter_map(|number| self.end(number, poll, why.to_owned())).collect())
    }

    /// Reads what has come of a report.
    pub fn reported(&mut self, number: u64, poll: &Poll) {
        let Some(running) = self.running.get_mut(&number) else { return };
        match running.incoming.read(running.report.as_fd()) {
            Ok(crate::report::Progress::Open) => {}
            // The end of the helper ends the operation.
            Ok(crate::report::Progress::Ended) => poll.forget(&running.report),
            Err(_) => {
                running.incoming = Incoming::default();
                poll.forget(&running.report);
            }
        }
    }

    /// A helper may have ended. Returns its operation if it has.
    pub fn helper_ended(&mut self, number: u64, poll: &Poll) -> Option<Ended> {
        let running = self.running.get(&number)?;
        let helper = running.helper.as_ref()?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = waitid(WaitId::PidFd(helper.as_fd()), options).ok()??;
        let how = match status.terminating_signal() {
            Some(signal) => format!("the helper was ended by signal {signal}"),
            None => "the helper ended without a report".to_owned(),
        };
        self.end(number, poll, how)
    }

    /// Ends an operation. If it has no whole report, `how` says why.
    fn end(&mut self, number: u64, poll: &Poll, how: String) -> Option<Ended> {
        self.reported(number, poll);
        let Running { order, then, report, incoming, helper, .. } = self.running.remove(&number)?;
        // The init process of a new container has these descriptors, too, until it executes its program.
        poll.forget(&report);
        helper.iter().for_each(|helper| poll.forget(helper));
        Some(Ended { order, then, result: incoming.take().ok_or(how) })
    }
}

/// A descriptor of a child. The child is not waited for yet, so no other process has its number.
pub fn child(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("a child without a number"))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
