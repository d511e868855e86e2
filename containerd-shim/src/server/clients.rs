//! Clients: their connections are taken, and their calls come in. containerd has a connection for each container; `start` and
//! `delete` of this program have one for each call.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use rustix::net::sockopt::socket_peercred;
use sharedroot_task::messages::Status;
use sharedroot_task::ttrpc::Request;
use sharedroot_task::{Call, Ticket};

use super::Server;
use super::connection::Connection;
use super::poll::{Interest, Token};
use crate::own_call::{self, OwnCall};

/// How long no connections are taken when there was no descriptor for one.
const PAUSE: Duration = Duration::from_secs(1);

impl Server {
    /// Takes connections of root. The socket is root's alone; this is the second lock.
    pub(super) fn accept(&mut self) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return;
                }
                Err(e) if e.kind() == ErrorKind::ConnectionAborted => continue,
                // There is no descriptor or no memory. The client waits meanwhile.
                Err(error) => {
                    self.warn(format_args!("take a connection: {error}"));
                    self.accept_again = Some(Instant::now() + PAUSE);
                    let _ = self.poll.change(&self.listener, Token::Listener, Interest::default());
                    return;
                }
            };
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

    /// Takes connections again when the pause is over.
    pub(super) fn accept_again(&mut self) -> io::Result<()> {
        if self.accept_again.is_some_and(|again| Instant::now() >= again) {
            self.accept_again = None;
            self.poll.change(&self.listener, Token::Listener, Interest::READ)?;
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, number: u64) {
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
        if request.service == own_call::SERVICE {
            let answer = OwnCall::parse(request).and_then(|call| self.own_call(call));
            return self.answer(connection, request.stream, answer.map(|()| Vec::new()));
        }
        let ticket = Ticket { connection, stream: request.stream };
        match Call::parse(request) {
            Ok(call) => {
                let effects = self.tasks.call(ticket, call);
                self.apply(effects);
            }
            Err(error) => self.answer(connection, request.stream, Err(error.status())),
        }
    }

    /// A call of `start` or `delete`.
    fn own_call(&mut self, call: OwnCall) -> Result<(), Status> {
        match call {
            OwnCall::Announce { id, bundle } => {
                let bundle = bundle.display().to_string();
                self.tasks.announce(id, bundle).map_err(|refusal| refusal.status())
            }
            OwnCall::GiveUp { id } => {
                let effects = self.tasks.give_up(&id);
                self.apply(effects);
                Ok(())
            }
        }
    }

    pub(super) fn answer(&mut self, connection: u64, stream: u32, answer: Result<Vec<u8>, Status>) {
        if let Some(client) = self.connections.get_mut(&connection) {
            client.answer(stream, answer);
            self.flush(connection);
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
}
