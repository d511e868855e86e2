//! Events, on their way to containerd. One event is under way at a time. While containerd is away, they wait.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use sharedroot_task::messages::Timestamp;
use sharedroot_task::messages::envelope::Request;
use sharedroot_task::ttrpc::Client;
use sharedroot_task::{EVENTS, Event, FORWARD, Id, Queue};

use super::poll::{Interest, Poll, Token};

/// How long to wait before containerd is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long containerd may take for an event, as with its own shim.
const PATIENCE: Duration = Duration::from_secs(5);

/// The events of one shim.
#[derive(Debug)]
pub struct Publisher {
    address: String,
    queue: Queue,
    connection: Option<Connection>,
    /// When containerd is tried again.
    again: Option<Instant>,
}

#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    client: Client,
    interest: Interest,
    /// When the event under way counts as lost.
    until: Instant,
}

impl Publisher {
    /// Publishes at containerd's ttrpc socket.
    pub fn new(address: &str, namespace: Id) -> Self {
        let address = address.strip_prefix("unix://").unwrap_or(address).to_owned();
        Self { address, queue: Queue::new(namespace), connection: None, again: None }
    }

    /// Adds an event. [`Self::advance`] sends it.
    pub fn push(&mut self, event: Event, at: Timestamp) {
        self.queue.push(event, at);
    }

    /// Whether every event is with containerd.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When [`Self::advance`] has something to do, if nothing happens before.
    pub fn next(&self) -> Option<Instant> {
        match &self.connection {
            Some(connection) if connection.client.is_waiting() => Some(connection.until),
            _ if self.queue.is_empty() => None,
            _ => self.again,
        }
    }

    /// Sends and receives what can be sent and received now. Returns an event that containerd refuses for good.
    pub fn advance(&mut self, poll: &Poll) -> Option<Event> {
        let mut dropped = None;
        loop {
            if self.connection.is_none() && !self.connect(poll) {
                return dropped;
            }
            match self.exchange(poll) {
                Ok(Exchange::Accepted) => self.queue.accepted(),
                Ok(Exchange::Refused) => dropped = self.queue.refused().or(dropped),
                Ok(Exchange::Waiting) => return dropped,
                Err(_) => self.lose(poll),
            }
        }
    }

    /// Connects if there is an event to send. Returns whether there is a connection.
    fn connect(&mut self, poll: &Poll) -> bool {
        if self.queue.is_empty() || self.again.is_some_and(|again| Instant::now() < again) {
            return false;
        }
        let connected = open(&self.address).and_then(|stream| {
            poll.add(&stream, Token::Events, Interest::READ)?;
            Ok(stream)
        });
        self.again = connected.is_err().then(|| Instant::now() + PAUSE);
        self.connection = connected.ok().map(|stream| Connection {
            stream,
            client: Client::default(),
            interest: Interest::READ,
            until: Instant::now(),
        });
        self.connection.is_some()
    }

    fn lose(&mut self, poll: &Poll) {
        if let Some(connection) = self.connection.take() {
            poll.forget(&connection.stream);
        }
        self.queue.disconnected();
        self.again = Some(Instant::now() + PAUSE);
    }

    fn exchange(&mut self, poll: &Poll) -> io::Result<Exchange> {
        let Some(connection) = &mut self.connection else { return Ok(Exchange::Waiting) };
        if !connection.client.is_waiting()
            && let Some(payload) = self.queue.send()
        {
            let request = Request {
                service: EVENTS.to_owned(),
                method: FORWARD.to_owned(),
                payload,
                timeout_nano: i64::try_from(PATIENCE.as_nanos()).unwrap_or(i64::MAX),
                metadata: Vec::new(),
            };
            connection.client.call(&request).map_err(io::Error::other)?;
            connection.until = Instant::now() + PATIENCE * 2;
        }
        connection.exchange(poll)
    }
}

/// What came of an exchange.
enum Exchange {
    /// containerd has the event.
    Accepted,
    /// containerd does not take the event.
    Refused,
    /// Nothing can be sent or received now.
    Waiting,
}

impl Connection {
    fn exchange(&mut self, poll: &Poll) -> io::Result<Exchange> {
        while !self.client.output().is_empty() {
            match self.stream.write(self.client.output()) {
                Ok(written) => self.client.sent(written),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let interest = Interest { read: true, write: !self.client.output().is_empty() };
        if interest != self.interest {
            poll.change(&self.stream, Token::Events, interest)?;
            self.interest = interest;
        }
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                let answer = self.client.receive(&buffer[..read]).map_err(io::Error::other)?;
                Ok(match answer {
                    Some(Ok(_)) => Exchange::Accepted,
                    Some(Err(_)) => Exchange::Refused,
                    None => Exchange::Waiting,
                })
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                if self.client.is_waiting() && Instant::now() >= self.until {
                    return Err(ErrorKind::TimedOut.into());
                }
                Ok(Exchange::Waiting)
            }
            Err(error) => Err(error),
        }
    }
}

/// Connects without waiting: containerd may be stopped, with its queue of connections full.
fn open(address: &str) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(address)?)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use prost::Message;
    use sharedroot_task::Code;
    use sharedroot_task::messages::event::{ForwardRequest, TaskOOM};
    use sharedroot_task::ttrpc::Server;

    use super::*;

    fn publisher(name: &str) -> (Publisher, UnixListener, Poll) {
        let path = std::env::temp_dir().join(format!("shim-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let namespace = "moby".parse().unwrap();
        (Publisher::new(path.to_str().unwrap(), namespace), listener, Poll::new().unwrap())
    }

    fn oom(id: &str) -> Event {
        Event::Oom(TaskOOM { container_id: id.to_owned() })
    }

    /// Reads one event as containerd, and gives the answer.
    fn serve(stream: &mut UnixStream, server: &mut Server, code: Option<Code>) -> String {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        let requests = server.receive(&buffer[..read]);
        let [request] = requests.as_slice() else { panic!("{requests:?}") };
        let forward = ForwardRequest::decode(request.payload.as_slice()).unwrap();
        server.answer(request.stream, code.map_or(Ok(Vec::new()), |code| Err(code.status("no"))));
        stream.write_all(server.output()).unwrap();
        server.sent(server.output().len());
        format!("{:?}", forward.envelope.unwrap().event.unwrap().value)
    }

    #[test]
    fn events_go_out_one_after_another_and_again_after_a_lost_connection() {
        let (mut publisher, listener, poll) = publisher("publisher");
        for id in ["a", "b"] {
            publisher.push(oom(id), Timestamp::default());
        }
        assert_eq!(publisher.advance(&poll), None);
        // containerd ends before it answers.
        drop(listener.accept().unwrap());
        assert_eq!(publisher.advance(&poll), None);
        assert!(publisher.next().is_some(), "containerd is tried again later");
        publisher.again = None;
        publisher.advance(&poll);
        let (mut stream, _) = listener.accept().unwrap();
        let mut server = Server::default();
        let first = serve(&mut stream, &mut server, None);
        publisher.advance(&poll);
        let second = serve(&mut stream, &mut server, None);
        assert_ne!(first, second);
        publisher.advance(&poll);
        assert!(publisher.is_empty() && publisher.next().is_none());
    }

    #[test]
    fn an_event_that_is_refused_for_good_is_returned() {
        let (mut publisher, listener, poll) = publisher("refused");
        publisher.push(oom("a"), Timestamp::default());
        publisher.advance(&poll);
        let (mut stream, _) = listener.accept().unwrap();
        let mut server = Server::default();
        let mut dropped = None;
        for _ in 0..=sharedroot_task::MAX_TRIES {
            assert_eq!(dropped, None);
            serve(&mut stream, &mut server, Some(Code::Internal));
            dropped = publisher.advance(&poll);
        }
        assert_eq!(dropped, Some(oom("a")));
        assert!(publisher.is_empty());
    }
}
