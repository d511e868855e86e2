//! Terminals: what a process writes goes to its client, and what the client writes goes to the process. The server has the master
//! of the pty, so it relays. One slow client stops its own terminal only.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::termios::{Winsize, tcsetwinsize};
use sharedroot_task::{Code, Outcome, Refusal, Target};

use super::poll::{End, Interest, Poll, Token};
use crate::report::Keep;

/// How much is relayed at once.
const AT_ONCE: usize = 4096;

/// How often, before all other clients and containers have their turn: a process may write as fast as its client reads.
const TURNS: usize = 16;

/// A descriptor, and what is waited for of it.
#[derive(Debug)]
struct Watched {
    fd: OwnedFd,
    token: Token,
    /// None if it is not waited for at all: epoll(7) tells the end of a file also to those who ask for nothing.
    interest: Option<Interest>,
}

impl Watched {
    fn watch(&mut self, interest: Interest, poll: &Poll) -> io::Result<()> {
        let wanted = (interest != Interest::default()).then_some(interest);
        if wanted == self.interest {
            return Ok(());
        }
        match (self.interest, wanted) {
            (None, Some(interest)) => poll.add(&self.fd, self.token, interest)?,
            (Some(_), Some(interest)) => poll.change(&self.fd, self.token, interest)?,
            (_, None) => poll.forget(&self.fd),
        }
        self.interest = wanted;
        Ok(())
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A terminal. Each end is there until it has ended.
#[derive(Debug)]
struct Terminal {
    target: Target,
    master: Option<Watched>,
    input: Option<Watched>,
    output: Option<Watched>,
    to_client: Vec<u8>,
    to_process: Vec<u8>,
}

/// The terminals of one shim, each by the process that it was made for.
#[derive(Debug, Default)]
pub struct Terminals {
    by_pid: BTreeMap<u32, Terminal>,
}

impl Terminals {
    /// Takes the descriptors of a terminal out of `kept`, if there is one, and begins to relay.
    ///
    /// # Errors
    /// A descriptor cannot be waited for.
    pub fn add(
        &mut self,
        pid: u32,
        target: &Target,
        kept: &mut Vec<(Keep, OwnedFd)>,
        poll: &Poll,
    ) -> io::Result<()> {
        let mut take = |keep, end| {
            let at = kept.iter().position(|(of, _)| *of == keep)?;
            let (_, fd) = kept.swap_remove(at);
            Some(Watched { fd, token: Token::Terminal(pid, end), interest: None })
        };
        let Some(master) = take(Keep::Terminal, End::Master) else { return Ok(()) };
        rustix::io::ioctl_fionbio(&master, true)?;
        let (input, output) =
            (take(Keep::TerminalInput, End::Input), take(Keep::TerminalOutput, End::Output));
        let mut terminal = Terminal {
            target: target.clone(),
            master: Some(master),
            input,
            output,
            to_client: Vec::new(),
            to_process: Vec::new(),
        };
        terminal.watch(poll)?;
        self.by_pid.insert(pid, terminal);
        Ok(())
    }

    /// Relays what can be relayed now.
    pub fn advance(&mut self, pid: u32, poll: &Poll) {
        let Some(terminal) = self.by_pid.get_mut(&pid) else { return };
        terminal.relay(poll);
        if terminal.watch(poll).is_err() || terminal.is_over() {
            self.remove(pid, poll);
        }
    }

    /// Ends the terminals of a process that is deleted, or of all processes of a deleted container.
    pub fn forget(&mut self, of: &Target, poll: &Poll) {
        let is_meant = |target: &Target| {
            target.container == of.container && (of.exec.is_none() || target.exec == of.exec)
        };
        let gone = self.by_pid.iter().filter(|(_, terminal)| is_meant(&terminal.target));
        let gone: BTreeSet<_> = gone.map(|(pid, _)| *pid).collect();
        gone.into_iter().for_each(|pid| self.remove(pid, poll));
    }

    fn remove(&mut self, pid: u32, poll: &Poll) {
        let ends = self.by_pid.remove(&pid).map(|t| [t.master, t.input, t.output]);
        for end in ends.into_iter().flatten().flatten() {
            poll.forget(&end);
        }
    }

    /// Sets the size of a process's terminal.
    pub fn resize(&self, target: &Target, columns: u16, rows: u16) -> Outcome {
        let mut all = self.by_pid.values();
        let master = all.find(|terminal| terminal.target == *target);
        let Some(master) = master.and_then(|terminal| terminal.master.as_ref()) else {
            return Outcome::Done;
        };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        match tcsetwinsize(master, size) {
            Ok(()) => Outcome::Done,
            Err(error) => {
                let text = format!("set the size of the terminal: {error}");
                Outcome::Failed(Refusal::Failed { code: Code::Unknown, text })
            }
        }
    }
}

impl Terminal {
    /// Waits for what each end can do next. An end whose buffer is full is not read.
    fn watch(&mut self, poll: &Poll) -> io::Result<()> {
        let (out, back) = (!self.to_client.is_empty(), !self.to_process.is_empty());
        let interests = [
            (&mut self.master, Interest { read: !out, write: back }),
            (&mut self.input, Interest { read: !back, write: false }),
            (&mut self.output, Interest { read: false, write: out }),
        ];
        for (end, interest) in interests {
            if let Some(end) = end {
                end.watch(interest, poll)?;
            }
        }
        Ok(())
    }

    fn relay(&mut self, poll: &Poll) {
        copy(&mut self.master, &mut self.to_client, &mut self.output, poll);
        copy(&mut self.input, &mut self.to_process, &mut self.master, poll);
        if self.master.is_none() && self.to_client.is_empty() {
            // Without a writer the client reads the end of the file.
            drop_end(&mut self.output, poll);
        }
    }

    /// Whether the process has ended, and the client has all that it wrote.
    fn is_over(&self) -> bool {
        self.master.is_none() && (self.output.is_none() || self.to_client.is_empty())
    }
}

/// Copies from one end to the other until one of them would wait, or until it is the turn of others. An end that has ended is dropped; what comes for an end that is
/// not there is lost.
fn copy(from: &mut Option<Watched>, buffer: &mut Vec<u8>, to: &mut Option<Watched>, poll: &Poll) {
    for _ in 0..TURNS {
        if !flush(buffer, to, poll) {
            return;
        }
        let Some(source) = from else { return };
        let mut read = [0; AT_ONCE];
        match rustix::io::read(&*source, &mut read) {
            Ok(count @ 1..) => buffer.extend_from_slice(&read[..count]),
            Err(Errno::AGAIN) => return,
            Err(Errno::INTR) => {}
            // EIO of a master: no process has the terminal open.
            Ok(_) | Err(_) => return drop_end(from, poll),
        }
    }
}

/// Writes the buffer. Returns whether it is empty.
fn flush(buffer: &mut Vec<u8>, to: &mut Option<Watched>, poll: &Poll) -> bool {
    while !buffer.is_empty() {
        let Some(sink) = to else {
            buffer.clear();
            return true;
        };
        match rustix::io::write(&*sink, buffer) {
            Ok(count) => drop(buffer.drain(..count)),
            Err(Errno::AGAIN) => return false,
            Err(Errno::INTR) => {}
            Err(_) => drop_end(to, poll),
        }
    }
    true
}

fn drop_end(end: &mut Option<Watched>, poll: &Poll) {
    if let Some(end) = end.take() {
        poll.forget(&end);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::time::Duration;

    use rustix::fs::OFlags;
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

    use super::*;

    struct Client {
        input: File,
        output: File,
    }

    fn pipe() -> (OwnedFd, OwnedFd) {
        let (reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        (reader.into(), writer.into())
    }

    fn terminal(poll: &Poll) -> (Terminals, File, Client) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&master).unwrap();
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let slave = File::from(ioctl_tiocgptpeer(&master, flags).unwrap());
        let ((stdin, input), (output, stdout)) = (pipe(), pipe());
        let mut kept = vec![
            (Keep::TerminalInput, stdin),
            (Keep::Terminal, master),
            (Keep::TerminalOutput, stdout),
        ];
        let target = Target { container: "c".parse().unwrap(), exec: None };
        let mut terminals = Terminals::default();
        terminals.add(7, &target, &mut kept, poll).unwrap();
        assert!(kept.is_empty());
        (terminals, slave, Client { input: input.into(), output: output.into() })
    }

    /// The kernel passes what is written to a terminal on later.
    fn turn(terminals: &mut Terminals, poll: &Poll) {
        for token in poll.wait(Some(Duration::from_millis(10))).unwrap() {
            let Token::Terminal(pid, _) = token else { panic!("{token:?}") };
            terminals.advance(pid, poll);
        }
    }

    fn read(file: &mut File) -> String {
        let mut bytes = [0; 65536];
        let count = file.read(&mut bytes).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    #[test]
    fn both_directions_are_relayed_until_the_process_ends() {
        let poll = Poll::new().unwrap();
        let (mut terminals, mut slave, mut client) = terminal(&poll);
        let mut said = |terminals: &mut Terminals, wanted: &str| {
            let mut text = String::new();
            for _ in 0..1000 {
                turn(terminals, &poll);
                text += &read(&mut client.output);
                if text == wanted {
                    return;
                }
            }
            panic!("{text:?} instead of {wanted:?}");
        };
        slave.write_all(b"prompt").unwrap();
        said(&mut terminals, "prompt");
        client.input.write_all(b"word\n").unwrap();
        // The terminal echoes.
        said(&mut terminals, "word\r\n");
        let mut line = [0; 64];
        let count = slave.read(&mut line).unwrap();
        assert_eq!(&line[..count], b"word\n");
        slave.write_all(b"bye").unwrap();
        drop(slave);
        said(&mut terminals, "bye");
        assert_eq!(client.output.read(&mut line).unwrap(), 0, "the client reads the end");
        assert!(terminals.by_pid.is_empty());
    }

    #[test]
    fn a_client_that_does_not_read_loses_nothing_and_costs_no_turn() {
        let poll = Poll::new().unwrap();
        let (mut terminals, mut slave, mut client) = terminal(&poll);
        let flags = rustix::fs::fcntl_getfl(&slave).unwrap() | OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(&slave, flags).unwrap();
        let mut written = 0;
        for _ in 0..200 {
            written += slave.write(&[b'x'; 1024]).unwrap_or(0);
            turn(&mut terminals, &poll);
        }
        assert!(written > 65536, "{written}");
        assert_eq!(poll.wait(Some(Duration::ZERO)).unwrap(), [], "nothing can be done");
        drop(slave);
        let mut got = 0;
        while !terminals.by_pid.is_empty() || got < written {
            let text = read(&mut client.output);
            got += text.len();
            turn(&mut terminals, &poll);
        }
        assert_eq!(got, written);
    }

    #[test]
    fn a_process_that_never_stops_writing_leaves_the_others_their_turn() {
        let poll = Poll::new().unwrap();
        let open = |path: &str, end| {
            let fd = File::options().read(true).write(true).open(path).unwrap().into();
            Some(Watched { fd, token: Token::Terminal(7, end), interest: None })
        };
        let (mut from, mut to) = (open("/dev/zero", End::Master), open("/dev/null", End::Output));
        copy(&mut from, &mut Vec::new(), &mut to, &poll);
        assert!(from.is_some() && to.is_some());
    }
}
