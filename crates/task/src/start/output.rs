//! What is printed. containerd reads standard output and standard error together and to their end. So nothing else may be
//! printed, and a process that stays must not keep them.

use prost::Message;

use super::input::Protocol;
use crate::messages::Timestamp;
use crate::messages::bootstrap::BootstrapResult;
use crate::messages::task::DeleteResponse;

/// The version of the task service that is answered. All know 2: containerd 1.7 refuses greater ones, and 2.x calls
/// `containerd.task.v2.Task` then.
const VERSION: i32 = 2;

/// What `start` prints for a socket's path. Text without a version is version 2 to every containerd.
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

/// How a container ended whose shim is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The init process; 0 if nobody knows.
    pub pid: u32,
    /// The exit status: 137 if `delete` killed the container.
    pub status: u32,
    /// When.
    pub at: Timestamp,
}

impl Ended {
    /// What `delete` prints.
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
        // containerd 2.3 tries the message first: the text must not be one.
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
