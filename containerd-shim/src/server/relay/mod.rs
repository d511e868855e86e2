//! Streams that the server relays: terminals, whose master it has, and the pipes of processes that may not use containerd's
//! FIFOs themselves. Nothing here waits. A link holds at most one buffer, so a client that does not read stops its own process
//! and nothing else, and a process that writes without end gets its turn as all others.
//!
//! | file | story |
//! |---|---|
//! | `link` | bytes from one descriptor to another |
//! | `mod` | the links of each process |

mod link;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use link::{Link, Watched};
use rustix::termios::{Winsize, tcsetwinsize};
use sharedroot_task::{Code, Outcome, Refusal, Target};

use super::poll::{Poll, StreamEnd, Token};
use crate::report::Keep;

/// The relayed streams of a process. Each link is there until its bytes have ended.
#[derive(Debug)]
struct Relay {
    target: Target,
    /// The process; none after its end, when the kernel may use the number again.
    pid: Option<u32>,
    input: Option<Link>,
    output: Option<Link>,
    error: Option<Link>,
    /// The master, for the size of the terminal.
    terminal: Option<OwnedFd>,
}

/// The relayed streams of one shim, by their numbers. They may outlive their process.
#[derive(Debug, Default)]
pub struct Relays {
    last: u64,
    by_number: BTreeMap<u64, Relay>,
}

impl Relays {
    /// Takes the descriptors of relayed streams out of `kept`, if there are any, and begins to relay.
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
        self.last += 1;
        let mut relay = Relay::take(self.last, target, kept)?;
        let links = [&mut relay.input, &mut relay.output, &mut relay.error];
        if links.iter().all(|link| link.is_none()) && relay.terminal.is_none() {
            return Ok(());
        }
        for link in links.into_iter().flatten() {
            link.watch(poll)?;
        }
        relay.pid = Some(pid);
        self.by_number.insert(self.last, relay);
        Ok(())
    }

    /// Relays what can be relayed now.
    pub fn advance(&mut self, number: u64, end: StreamEnd, poll: &Poll) {
        let Some(relay) = self.by_number.get_mut(&number) else { return };
        let link = relay.link(end);
        if let Some(at) = link
            && (at.relay(poll).is_err() || at.is_over())
            && let Some(over) = link.take()
        {
            over.end(poll);
        }
        if relay.is_over() {
            self.remove(number, poll);
        }
    }

    /// A process has ended: nobody reads its input any more. Other processes of the container may still write.
    pub fn process_ended(&mut self, pid: u32, poll: &Poll) {
        let mut all = self.by_number.iter_mut();
        let Some((number, relay)) = all.find(|(_, relay)| relay.pid == Some(pid)) else { return };
        relay.pid = None;
        if let Some(input) = relay.input.take() {
            input.end(poll);
        }
        if relay.is_over() {
            let number = *number;
            self.remove(number, poll);
        }
    }

    /// Whether bytes of a process are still on their way, or of any process of the container.
    pub fn has(&self, of: &Target) -> bool {
        self.by_number.values().any(|relay| relay.is_of(of))
    }

    /// Ends the streams of a process that is deleted, or of all processes of a deleted container.
    pub fn forget(&mut self, of: &Target, poll: &Poll) {
        let gone = self.by_number.iter().filter(|(_, relay)| relay.is_of(of));
        let gone: Vec<_> = gone.map(|(number, _)| *number).collect();
        gone.into_iter().for_each(|number| self.remove(number, poll));
    }

    fn remove(&mut self, number: u64, poll: &Poll) {
        let Some(relay) = self.by_number.remove(&number) else { return };
        for link in [relay.input, relay.output, relay.error].into_iter().flatten() {
            link.end(poll);
        }
    }

    /// Sets the size of a process's terminal.
    pub fn resize(&self, target: &Target, columns: u16, rows: u16) -> Outcome {
        let mut all = self.by_number.values();
        let relay = all.find(|relay| relay.target == *target);
        let Some(master) = relay.and_then(|relay| relay.terminal.as_ref()) else {
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

impl Relay {
    fn take(number: u64, target: &Target, kept: &mut Vec<(Keep, OwnedFd)>) -> io::Result<Self> {
        let mut take = |keep| {
            let at = kept.iter().position(|(of, _)| *of == keep)?;
            Some(kept.swap_remove(at).1)
        };
        let mut relay = Self {
            target: target.clone(),
            pid: None,
            input: None,
            output: None,
            error: None,
            terminal: None,
        };
        let client = take(Keep::ClientInput);
        let outputs = [
            (take(Keep::ClientOutput), take(Keep::OutputReader), take(Keep::ProcessOutput)),
            (take(Keep::ClientError), take(Keep::ErrorReader), take(Keep::ProcessError)),
        ];
        let mut input = take(Keep::ProcessInput);
        let [(to, reader, mut from), (to_error, error_reader, from_error)] = outputs;
        if let Some(master) = take(Keep::Terminal) {
            // Each end of a link is waited for by a descriptor of its own.
            (from, input) = (Some(master.try_clone()?), Some(master.try_clone()?));
            relay.terminal = Some(master);
        }
        let watched = |fd: OwnedFd, end| Watched::new(fd, Token::Stream(number, end));
        let link = |from: Option<OwnedFd>, to: Option<OwnedFd>, reader, ends: [StreamEnd; 2]| {
            let Some(from) = from else { return Ok(None) };
            let to = to.map(|to| watched(to, ends[1])).transpose()?;
            Ok::<_, io::Error>(Some(Link::new(watched(from, ends[0])?, to, reader)))
        };
        use StreamEnd::*;
        relay.input = match client {
            Some(client) => link(Some(client), input, None, [InputFrom, InputTo])?,
            None => None,
        };
        relay.output = link(from, to, reader, [OutputFrom, OutputTo])?;
        relay.error = link(from_error, to_error, error_reader, [ErrorFrom, ErrorTo])?;
        Ok(relay)
    }

    fn link(&mut self, end: StreamEnd) -> &mut Option<Link> {
        match end {
            StreamEnd::InputFrom | StreamEnd::InputTo => &mut self.input,
            StreamEnd::OutputFrom | StreamEnd::OutputTo => &mut self.output,
            StreamEnd::ErrorFrom | StreamEnd::ErrorTo => &mut self.error,
        }
    }

    fn is_of(&self, of: &Target) -> bool {
        self.target.container == of.container && (of.exec.is_none() || self.target.exec == of.exec)
    }

    /// Whether nothing can come any more. Without its output, a terminal is of no use.
    fn is_over(&self) -> bool {
        let outputs = self.output.is_none() && self.error.is_none();
        outputs && (self.input.is_none() || self.terminal.is_some())
    }
}

#[cfg(test)]
mod tests;
