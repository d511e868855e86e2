//! The output of the program. containerd reads standard output and standard error together, to their end. So the program prints
//! nothing else, and a process that stays alive must close both.

use prost::Message;

use super::input::Protocol;
use crate::messages::Timestamp;
use crate::messages::bootstrap::BootstrapResult;
use crate::messages::task::DeleteResponse;

/// The version of the task service in the answer. Every containerd knows version 2: 1.7 refuses larger versions, and for
/// version 2 containerd 2.x calls `containerd.task.v2.Task`.
const VERSION: i32 = 2;

/// The text that `start` prints for a socket's path. For every containerd, a text without a version means version 2.
#[must_use]
pub fn address(protocol: Protocol, socket: &str) -> Vec<u8> {
    let address = format!("unix://{socket}");
    match protocol {
        Protocol::Address => address.into_bytes(),
        Protocol::Bootstrap => {
            let protocol = "ttrpc".to_owned();
            let result =
                BootstrapResult { version: VERSION, address, protocol, ..Default::default() };
            result.encode_to_vec()
        }
    }
}

/// How a container ended whose shim has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The process ID of the init process; 0 if it is unknown.
    pub pid: u32,
    /// The exit status: 137 if `delete` killed the container.
    pub status: u32,
    /// The time of the end.
    pub at: Timestamp,
}

impl Ended {
    /// The text that `delete` prints.
    #[must_use]
    pub fn print(self) -> Vec<u8> {
        let Self { pid, status, at } = self;
        DeleteResponse { pid, exit_status: status, exited_at: Some(at) }.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_containerd_reads_its_own_form() {
        let socket = "/run/sharedroot/shim/moby";
        let text = address(Protocol::Address, socket);
        assert_eq!(text, b"unix:///run/sharedroot/shim/moby");
        // containerd 2.3 first tries to read the output as the message, so the text must not be a valid message.
        assert!(BootstrapResult::decode(text.as_slice()).is_err());
        let result = address(Protocol::Bootstrap, socket);
        let result = BootstrapResult::decode(result.as_slice()).unwrap();
        assert_eq!((result.version, result.protocol.as_str()), (2, "ttrpc"));
        assert_eq!(result.address.as_bytes(), text);
    }

    #[test]
    fn an_end_is_a_delete_response() {
        let at = Timestamp { seconds: 5, nanos: 6 };
        let printed = Ended { pid: 7, status: 137, at }.print();
        let response = DeleteResponse::decode(printed.as_slice()).unwrap();
        assert_eq!((response.pid, response.exit_status, response.exited_at), (7, 137, Some(at)));
    }
}
