//! What happened to a container, in the journal: `journalctl -t sharedroot SHAREDROOT_CONTAINER=ID`.
//!
//! Messages wait in memory until [`deliver`] is called in the process of the command itself: at its end (`run` in lib.rs),
//! before it waits for a container, and before it executes another program (`lifecycle/story.rs`). It is never called in a
//! process that enters a container, nor on a thread that joins a container's mount namespace: there
//! `/run/systemd/journal/socket` is a path of the image, and a program of the image may listen. The messages of such a process
//! end with its memory, and its parent reports why it failed. For this reason, too, no socket is open while a container is
//! made.
//!
//! tracing-journald and similar crates connect at their start, send from any process, and wait for a busy journal. Here
//! `state` and other commands that change nothing send nothing and cost nothing. The others cost three system calls, of which
//! one fails on a host without journald.

use std::os::fd::AsRawFd;
use std::sync::{Mutex, OnceLock};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use sharedroot_format::ContainerId;
use sharedroot_sys::chain::LONGEST;
use sharedroot_sys::command_line;
use tracing::Level;

use crate::cli::Verb;

/// Where journald takes datagrams, each with the fields of one message (systemd's JOURNAL_NATIVE_PROTOCOL).
const SOCKET: &str = "/run/systemd/journal/socket";

/// The command of this process, if its messages go to the journal.
static COMMAND: OnceLock<Command> = OnceLock::new();

struct Command {
    verb: &'static str,
    container: ContainerId,
    /// Whether the journal must not have the command line.
    hide: bool,
    /// None after a journal did not answer.
    waiting: Mutex<Option<Vec<Message>>>,
}

struct Message {
    level: Level,
    text: String,
}

/// Says which command this is. Only the messages of commands that change a container go to the journal: engines call `state`
/// all the time.
pub(super) fn begin(verb: &Verb) {
    if matches!(verb, Verb::State(_) | Verb::Ps(_) | Verb::Events(_)) {
        return;
    }
    // An invalid ID could add fields to the message.
    let Some(Ok(container)) = verb.container().map(str::parse) else { return };
    // Engines give the process in a file, which hides its command line; to hide it here costs a few system calls.
    let hide = matches!(verb, Verb::Exec(args) if args.process.is_none());
    let _ = COMMAND.set(Command { hide, ..Command::new(verb.name(), container) });
}

/// Says what this process does for a program that is no command line.
pub(super) fn begin_with(verb: &'static str, container: &ContainerId) {
    let _ = COMMAND.set(Command::new(verb, container.clone()));
}

/// Whether the messages of this command go to the journal.
pub(super) fn is_told() -> bool {
    COMMAND.get().is_some()
}

/// Keeps a message until [`deliver`].
pub(super) fn keep(level: Level, text: &str) {
    let Some(command) = COMMAND.get() else { return };
    if let Ok(mut waiting) = command.waiting.lock()
        && let Some(waiting) = waiting.as_mut()
    {
        waiting.push(Message { level, text: text.to_owned() });
    }
}

/// Sends the messages that wait. If there is no journal, or if it does not answer, this neither fails nor waits.
pub fn deliver() {
    let Some(command) = COMMAND.get() else { return };
    let Ok(mut waiting) = command.waiting.lock() else { return };
    let Some(messages) = waiting.as_mut().map(std::mem::take).filter(|all| !all.is_empty()) else {
        return;
    };
    if command.send(&messages).is_err() {
        *waiting = None;
    }
}

impl Command {
    fn new(verb: &'static str, container: ContainerId) -> Self {
        Self { verb, container, hide: false, waiting: Mutex::new(Some(Vec::new())) }
    }

    fn send(&self, messages: &[Message]) -> std::io::Result<()> {
        if self.hide {
            command_line::show_up_to(self.verb)?;
        }
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        let journald = UnixAddr::new(SOCKET)?;
        messages.iter().try_for_each(|message| {
            let fields = self.fields(message);
            let sent =
                sendto(socket.as_raw_fd(), fields.as_bytes(), &journald, MsgFlags::MSG_NOSIGNAL);
            sent.map(drop)
        })?;
        Ok(())
    }

    /// One line for each field. The field is not CONTAINER_ID_FULL, by which `docker logs` and `podman logs` find what a
    /// container printed.
    fn fields(&self, Message { level, text }: &Message) -> String {
        let priority = match *level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        let end = text.floor_char_boundary(LONGEST);
        let text = text[..end].replace('\n', " ");
        let (verb, id) = (self.verb, &self.container);
        format!(
            "MESSAGE={text}\nPRIORITY={priority}\nSYSLOG_IDENTIFIER=sharedroot\nSHAREDROOT_CONTAINER={id}\n\
             SHAREDROOT_COMMAND={verb}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_brings_fields_of_its_own() {
        let container = "c1".parse().unwrap();
        let command = Command { verb: "kill", container, hide: false, waiting: Mutex::default() };
        let text = "a\nSHAREDROOT_CONTAINER=c2".to_owned();
        let fields = command.fields(&Message { level: Level::WARN, text });
        assert_eq!(
            fields.lines().collect::<Vec<_>>(),
            [
                "MESSAGE=a SHAREDROOT_CONTAINER=c2",
                "PRIORITY=4",
                "SYSLOG_IDENTIFIER=sharedroot",
                "SHAREDROOT_CONTAINER=c1",
                "SHAREDROOT_COMMAND=kill",
            ]
        );
        let long = Message { level: Level::ERROR, text: "ä".repeat(LONGEST) };
        assert!(command.fields(&long).len() < LONGEST + 200);
    }
}
