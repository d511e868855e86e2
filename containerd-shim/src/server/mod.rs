//! The server: one thread, which answers containerd, has operations done, and waits for the ends of processes. Nothing in it
//! waits for anything but [`Poll::wait`].
//!
//! | module | story |
//! |---|---|
//! | `poll` | what the server waits for |
//! | `connection` | a client: bytes and calls |
//! | `publisher` | events, on their way to containerd |
//! | `jobs` | operations under way |
//! | `processes`, `ends` | the processes of containers, and their ends |
//! | `memory` | what the kernel tells about the memory of containers |
//! | `relay/` | streams whose bytes the server relays |
//! | `loggers` | processes that take the output of containers |
//! | `work` | what the state machine wants done |

mod connection;
mod ends;
mod jobs;
mod loggers;
mod memory;
mod poll;
mod processes;
mod publisher;
mod relay;
mod work;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
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
use rustix::net::sockopt::socket_peercred;
use sharedroot_task::ttrpc::Request;
use sharedroot_task::{Call, Effect, Tasks, Ticket};

use crate::delete::now;
use crate::log;
use crate::serve::Orders;

/// How long a server that is asked to end waits until its answers and events are out. containerd waits 3 s.
const LAST_WORDS: Duration = Duration::from_secs(2);

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
    log: Option<File>,
    /// When the server ends at the latest, once it is asked to.
    ending: Option<Instant>,
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
        log: Option<File>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        listener.set_nonblocking(true)?;
        poll.add(&listener, Token::Listener, Interest::READ)?;
        let children = SigSet::from(Signal::SIGCHLD);
        children.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&children, flags)?;
        poll.add(&signals, Token::Signals, Interest::READ)?;
        Ok(Self {
            orders: orders.clone(),
            jobs: Jobs::new(spawner, &poll)?,
            poll,
            listener,
            signals,
            connections: BTreeMap::new(),
            last_connection: 0,
            tasks: Tasks::new(std::process::id()),
            processes: Processes::default(),
            relays: Relays::default(),
            loggers: Loggers::default(),
            closing: Vec::new(),
            memory: Memory::default(),
            publisher: Publisher::new(&orders.ttrpc_address, orders.namespace.clone()),
            log,
            ending: None,
        })
    }

    /// Serves until containerd asks for the end.
    ///
    /// # Errors
    /// The kernel does not serve the server.
    pub fn run(mut self) -> io::Result<()> {
        while !self.is_done() {
            for token in self.poll.wait(self.patience())? {
                self.take(token)?;
            }
            self.advance_closing();
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
        self.ending.is_some_and(|end| {
            let said = self.connections.values().all(Connection::is_flushed);
            (said && self.publisher.is_empty()) || Instant::now() >= end
        })
    }

    /// How long to wait at most.
    fn patience(&self) -> Option<Duration> {
        let waits = [self.ending, self.publisher.next(), self.next_closing()];
        let next = waits.into_iter().flatten().min()?;
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

    /// Takes connections of root. The socket is root's alone; this is the second lock.
    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let is_root = socket_peercred(&stream).is_ok_and(|peer| peer.uid.is_root());
            if !is_root {
                self.warn(format_args!("a client that is not root was refused"));
                continue;
            }
            self.last_connection += 1;
            let number = self.last_connection;
            match Connection::new(stream, Token::Connection(number), &self.poll) {
                Ok(connection) => drop(self.connections.insert(number, connection)),
                Err(error) => self.warn(format_args!("take a connection: {error}")),
            }
        }
    }

    fn receive(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match connection.receive() {
            Some(requests) => {
                for request in requests {
                    self.call(number, &request);
                }
                self.flush(number);
            }
            None => self.disconnect(number),
        }
    }

    fn call(&mut self, connection: u64, request: &Request) {
        let ticket = Ticket { connection, stream: request.stream };
        match Call::parse(request) {
            Ok(call) => {
                let effects = self.tasks.call(ticket, call);
                self.apply(effects);
            }
            Err(error) => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.answer(request.stream, Err(error.status()));
                }
            }
        }
    }

    /// Does what the state machine wants, in its order, and what comes of that.
    fn apply(&mut self, effects: Vec<Effect>) {
        let mut effects: std::collections::VecDeque<_> = effects.into();
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Answer(ticket, answer) => {
                    let answer =
                        answer.map(|answer| answer.encode()).map_err(|refusal| refusal.status());
                    if let Some(connection) = self.connections.get_mut(&ticket.connection) {
                        connection.answer(ticket.stream, answer);
                        self.flush(ticket.connection);
                    }
                }
                Effect::Publish(event) => self.publisher.push(event, now()),
                Effect::Run(job, work) => {
                    if let Some(outcome) = self.work(job, work) {
                        effects.extend(self.tasks.done(job, outcome));
                    }
                }
                Effect::Report(id, refusal) => {
                    self.warn(format_args!("container {id}: {refusal}"));
                }
                Effect::Shutdown => {
                    self.ending.get_or_insert_with(|| Instant::now() + LAST_WORDS);
                }
            }
        }
    }

    fn flush(&mut self, number: u64) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.flush(&self.poll).is_err() {
            self.disconnect(number);
        }
    }

    fn disconnect(&mut self, number: u64) {
        self.connections.remove(&number);
        self.tasks.disconnected(number);
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

    fn warn(&self, text: std::fmt::Arguments<'_>) {
        log::warn(self.log.as_ref(), text);
    }
}
