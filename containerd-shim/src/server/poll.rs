//! What the server waits for: epoll(7) with a token for each descriptor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// What has happened to a descriptor, or who it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Token {
    /// A client connects.
    Listener,
    /// A child has ended.
    Signals,
    /// The spawner announces a helper, has room for more orders, or has ended.
    Spawner,
    /// containerd's socket for events.
    Events,
    /// A client, by the number of its connection.
    Connection(u64),
    /// The report of a helper, by the number of its operation.
    Report(u64),
    /// The end of a helper, by the number of its operation.
    Helper(u64),
    /// The end of a process of a container, by its process ID.
    Process(u32),
    /// A relayed stream, by the number of the relay.
    Stream(u64, StreamEnd),
    /// What the kernel tells about a container's memory, by the number of the watch.
    Memory(u64),
    /// The end of a process that takes the output of a container, by its number.
    Logger(u64),
}

/// A descriptor between a process and its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamEnd {
    /// The client's FIFO of what it writes.
    InputFrom,
    /// What the process reads.
    InputTo,
    /// What the process writes.
    OutputFrom,
    /// The client's FIFO of what it reads.
    OutputTo,
    /// What the process writes to its standard error.
    ErrorFrom,
    /// The client's FIFO for that.
    ErrorTo,
}

impl StreamEnd {
    const ALL: [Self; 6] = [
        Self::InputFrom,
        Self::InputTo,
        Self::OutputFrom,
        Self::OutputTo,
        Self::ErrorFrom,
        Self::ErrorTo,
    ];

    /// The kind of the descriptor's token.
    fn kind(self) -> u64 {
        STREAMS + self as u64
    }
}

/// The kind of the first of [`StreamEnd::ALL`].
const STREAMS: u64 = 16;

/// The bits of a number below the kind.
const SHIFT: u32 = 56;

impl Token {
    fn pack(self) -> u64 {
        let (kind, number) = match self {
            Self::Listener => (0, 0),
            Self::Signals => (1, 0),
            Self::Spawner => (2, 0),
            Self::Events => (3, 0),
            Self::Connection(number) => (4, number),
            Self::Report(number) => (5, number),
            Self::Helper(number) => (6, number),
            Self::Process(pid) => (7, u64::from(pid)),
            Self::Memory(number) => (8, number),
            Self::Logger(number) => (9, number),
            Self::Stream(number, end) => (end.kind(), number),
        };
        // 2^56 connections or operations do not happen.
        (kind << SHIFT) | (number & ((1 << SHIFT) - 1))
    }

    fn unpack(packed: u64) -> Self {
        let number = packed & ((1 << SHIFT) - 1);
        let pid = u32::try_from(number).unwrap_or(0);
        match packed >> SHIFT {
            0 => Self::Listener,
            1 => Self::Signals,
            2 => Self::Spawner,
            3 => Self::Events,
            4 => Self::Connection(number),
            5 => Self::Report(number),
            6 => Self::Helper(number),
            7 => Self::Process(pid),
            8 => Self::Memory(number),
            9 => Self::Logger(number),
            kind => {
                let end = StreamEnd::ALL.into_iter().find(|end| end.kind() == kind);
                Self::Stream(number, end.unwrap_or(StreamEnd::ErrorTo))
            }
        }
    }
}

/// What to wait for of a descriptor. Its end is always waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interest {
    /// That it can be read.
    pub read: bool,
    /// That it can be written.
    pub write: bool,
}

impl Interest {
    /// That it can be read.
    pub const READ: Self = Self { read: true, write: false };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.read);
        flags.set(EventFlags::OUT, self.write);
        flags
    }
}

/// All that the server waits for.
#[derive(Debug)]
pub struct Poll(OwnedFd);

/// How many things are taken at once.
const AT_ONCE: usize = 64;

impl Poll {
    /// Waits for nothing yet.
    ///
    /// # Errors
    /// epoll_create1(2)'s.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Waits for one more descriptor, until it is closed or [`Self::forget`].
    ///
    /// # Errors
    /// epoll_ctl(2)'s.
    pub fn add(&self, source: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.0, source, EventData::new_u64(token.pack()), interest.flags())?)
    }

    /// Waits for what the kernel tells apart from bytes (EPOLLPRI), such as that a file of a cgroup has changed.
    ///
    /// # Errors
    /// epoll_ctl(2)'s.
    pub fn add_urgent(&self, source: impl AsFd, token: Token) -> io::Result<()> {
        let data = EventData::new_u64(token.pack());
        Ok(epoll::add(&self.0, source, data, EventFlags::PRI)?)
    }

    /// Waits for something else of a descriptor.
    ///
    /// # Errors
    /// epoll_ctl(2)'s.
    pub fn change(&self, source: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.0, source, EventData::new_u64(token.pack()), interest.flags())?)
    }

    /// Waits no more for a descriptor. A descriptor that another process has, too, must be forgotten before it is closed.
    pub fn forget(&self, source: impl AsFd) {
        let _ = epoll::delete(&self.0, source);
    }

    /// Waits until something happens, or until the time is over.
    ///
    /// # Errors
    /// epoll_wait(2)'s.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Token>> {
        let none = Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        let mut events = [none; AT_ONCE];
        let timeout = timeout.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        match epoll::wait(&self.0, &mut events, timeout.as_ref()) {
            Err(Errno::INTR) => Ok(Vec::new()),
            count => {
                let found = &events[..count?];
                Ok(found.iter().map(|event| Token::unpack({ event.data }.u64())).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back() {
        let most = (1 << SHIFT) - 1;
        for token in [
            Token::Listener,
            Token::Signals,
            Token::Spawner,
            Token::Events,
            Token::Connection(most),
            Token::Report(1),
            Token::Helper(0),
            Token::Process(u32::MAX),
            Token::Memory(10),
            Token::Logger(most),
        ] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
        for end in StreamEnd::ALL {
            let token = Token::Stream(most, end);
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }

    #[test]
    fn what_happens_is_told_by_its_token() {
        let poll = Poll::new().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        poll.add(&reader, Token::Report(9), Interest::READ).unwrap();
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), []);
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(poll.wait(None).unwrap(), [Token::Report(9)]);
        poll.change(&reader, Token::Report(9), Interest::default()).unwrap();
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), []);
        poll.forget(&reader);
        drop(writer);
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), []);
    }
}
