//! The server: one thread, which answers containerd, has operations done, and waits for the ends of processes. Nothing in it
//! waits for anything but [`Poll::wait`].
//!
//! | module | story |
//! |---|---|
//! | `poll` | what the server waits for |
//! | `clients` | connections are taken, and calls come in |
//! | `connection` | a client: bytes and calls |
//! | `publisher` | events, on their way to containerd |
//! | `jobs` | operations under way |
//! | `turns` | which of them wait for their turn |
//! | `processes`, `ends` | the processes of containers, and their ends |
//! | `memory` | what the kernel tells about the memory of containers |
//! | `relay/` | streams whose bytes the server relays |
//! | `loggers` | processes that take the output of containers |
//! | `work` | what the state machine wants done |
//! | `stay` | how long the server stays: announced containers, and its end |

mod clients;
mod connection;
mod ends;
mod jobs;
mod loggers;
mod memory;
mod poll;
mod processes;
mod publisher;
mod relay;
mod stay;
mod turns;
mod work;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use connection::Connection;
use ends::Closing;
use jobs::Jobs;
use loggers::Loggers;
use memory::Memory;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use poll::{Interest, Poll, Token};
use processes::Processes;
use publisher::Publisher;
use relay::Relays;
use sharedroot_task::{Effect, Tasks};
use stay::Stay;

use crate::delete::now;
use crate::descriptors::Limit;
use crate::log;
use crate::serve::Orders;

/// The server of one shim.
#[derive(Debug)]
pub struct Server {
    orders: Orders,
    poll: Poll,
    listener: UnixListener,
    signals: SignalFd,
    connections: BTreeMap<u64, Connection>,
    last_connection: u64,
    tasks: Tasks,
    jobs: Jobs,
    processes: Processes,
    relays: Relays,
    loggers: Loggers,
    /// Deletes that wait for output on its way.
    closing: Vec<Closing>,
    memory: Memory,
    publisher: Publisher,
    limit: Limit,
    stay: Stay,
    /// When connections are taken again, after there was no descriptor for one.
    accept_again: Option<Instant>,
}

impl Server {
    /// Serves at `listener`. `spawner` is the socket of the spawner.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    pub fn new(
        orders: &Orders,
        listener: UnixListener,
        spawner: OwnedFd,
        limit: Limit,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        listener.set_nonblocking(true)?;
        poll.add(&listener, Token::Listener, Interest::READ)?;
        let children = SigSet::from(Signal::SIGCHLD);
        children.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&children, flags)?;
        poll.add(&signals, Token::Signals, Interest::READ)?;
        let mut tasks = Tasks::new(std::process::id());
        let bundle = orders.bundle.display().to_string();
        tasks.announce(orders.id.clone(), bundle).map_err(io::Error::other)?;
        Ok(Self {
            orders: orders.clone(),
            jobs: Jobs::new(spawner, &poll)?,
            poll,
            listener,
            signals,
            connections: BTreeMap::new(),
            last_connection: 0,
            tasks,
            processes: Processes::default(),
            relays: Relays::default(),
            loggers: Loggers::default(),
            closing: Vec::new(),
            memory: Memory::default(),
            publisher: Publisher::new(&orders.ttrpc_address, orders.namespace.clone()),
            limit,
            stay: Stay::new(&orders.socket),
            accept_again: None,
        })
    }

    /// Serves until nothing needs the server.
    ///
    /// # Errors
    /// The kernel does not serve the server.
    pub fn run(mut self) -> io::Result<()> {
        let served = self.serve();
        // Before the socket is closed: from then on it is stale, and `start` may put another one at its place.
        self.stay.end();
        served.inspect_err(|error| self.warn(format_args!("the server ends: {error}")))
    }

    fn serve(&mut self) -> io::Result<()> {
        while !self.is_done() {
            for token in self.poll.wait(self.patience())? {
                self.take(token)?;
            }
            self.advance_closing();
            self.jobs.end_late();
            for id in self.stay.given_up(&self.tasks) {
                let effects = self.tasks.give_up(&id);
                self.apply(effects);
            }
            self.accept_again()?;
            self.begin_next();
            if let Some(event) = self.publisher.advance(&self.poll) {
                self.warn(format_args!(
                    "containerd refuses the event {} of container {}",
                    event.topic(),
                    event.container()
                ));
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.stay.ends_at().is_some_and(|end| {
            let said = self.connections.values().all(Connection::is_flushed);
            (said && self.publisher.is_empty()) || Instant::now() >= end
        })
    }

    /// How long to wait at most.
    fn patience(&self) -> Option<Duration> {
        let own = [
            self.stay.ends_at(),
            self.stay.next(&self.tasks),
            self.accept_again,
            self.jobs.next_deadline(),
            self.publisher.next(),
            self.next_closing(),
        ];
        let next = own.into_iter().flatten().min()?;
        // A millisecond more: the kernel counts in whole ones.
        Some(next.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    fn take(&mut self, token: Token) -> io::Result<()> {
        match token {
            Token::Listener => self.accept(),
            Token::Signals => self.children_ended(),
            Token::Spawner => self.announced()?,
            // Every turn of the loop advances the publisher.
            Token::Events => {}
            Token::Connection(number) => self.receive(number),
            Token::Report(number) => self.jobs.reported(number, &self.poll),
            Token::Helper(number) => {
                if let Some(ended) = self.jobs.helper_ended(number, &self.poll) {
                    self.operation_ended(ended);
                }
            }
            Token::Stream(number, end) => self.relays.advance(number, end, &self.poll),
            Token::Logger(number) => self.loggers.ended(number, &self.poll),
            Token::Memory(watch) => self.memory_changed(watch),
            Token::Process(pid) => self.process_ended(pid),
        }
        Ok(())
    }

    /// Does what the state machine wants, in its order, and what comes of that.
    fn apply(&mut self, effects: Vec<Effect>) {
        let mut effects: std::collections::VecDeque<_> = effects.into();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Answer(ticket, answer) => {
                    let answer =
                        answer.map(|answer| answer.encode()).map_err(|refusal| refusal.status());
                    self.answer(ticket.connection, ticket.stream, answer);
                }
                Effect::Publish(event) => self.publisher.push(event, now()),
                Effect::Run(job, work) => {
                    if let Some(outcome) = self.work(job, work) {
                        effects.extend(self.tasks.done(job, outcome));
                    }
                }
                Effect::Report(id, refusal) => {
                    let log = self.tasks.bundle(id.as_str()).and_then(log_of);
                    log::warn(log.as_ref(), format_args!("container {id}: {refusal}"));
                }
                Effect::Shutdown => {
                    self.stay.end();
                }
            }
        }
    }

    /// A child has ended. Those that are known have descriptors of their own.
    fn children_ended(&mut self) {
        loop {
            match self.signals.read_signal() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) if io::Error::from(error).kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.sweep();
    }

    /// Tells what concerns no single container, in the log of some container that has a reader.
    fn warn(&self, text: std::fmt::Arguments<'_>) {
        log::warn(self.tasks.bundles().find_map(log_of).as_ref(), text);
    }
}

fn log_of(bundle: &str) -> Option<std::fs::File> {
    log::of_bundle(Path::new(bundle))
}
