//! The task service: its methods, their requests and their answers.

use std::fmt;
use std::str::FromStr;

use prost::Message;

use crate::decode::{Unreadable, decode};
use crate::messages::task::*;
use crate::messages::{Empty, Status};
use crate::{Code, ttrpc};

/// The names by which containerd calls the service: 1.7 uses the first, 2.x the name of the version that `start` answered.
pub const SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

/// Makes the methods and the calls from one list.
macro_rules! methods {
    ($($method:ident: $request:ident),+ $(,)?) => {
        /// A method of the task service.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the names are containerd's; the requests have the docs")]
        pub enum Method {
            $($method),+
        }

        impl Method {
            /// All methods.
            pub const ALL: &[Self] = &[$(Self::$method),+];
        }

        /// A call: a method with its request.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the names are containerd's; the requests have the docs")]
        pub enum Call {
            $($method($request)),+
        }

        impl Call {
            /// The method of the call.
            #[must_use]
            pub fn method(&self) -> Method {
                match self {
                    $(Self::$method(_) => Method::$method),+
                }
            }

            /// The ID of the container, as the request has it.
            #[must_use]
            pub fn container(&self) -> &str {
                match self {
                    $(Self::$method(request) => &request.id),+
                }
            }

            /// The length of the encoded request, in bytes.
            #[must_use]
            pub fn encoded_len(&self) -> usize {
                match self {
                    $(Self::$method(request) => request.encoded_len()),+
                }
            }

            /// The encoded request.
            #[must_use]
            pub fn payload(&self) -> Vec<u8> {
                match self {
                    $(Self::$method(request) => request.encode_to_vec()),+
                }
            }

            fn decode(method: Method, payload: &[u8]) -> Result<Self, Unreadable> {
                let nested = method.nested();
                Ok(match method {
                    $(Method::$method => Self::$method(decode::<$request>(payload, nested)?)),+
                })
            }
        }
    };
}

methods! {
    State: StateRequest,
    Create: CreateTaskRequest,
    Start: StartRequest,
    Delete: DeleteRequest,
    Pids: PidsRequest,
    Pause: PauseRequest,
    Resume: ResumeRequest,
    Checkpoint: CheckpointTaskRequest,
    Kill: KillRequest,
    Exec: ExecProcessRequest,
    ResizePty: ResizePtyRequest,
    CloseIO: CloseIORequest,
    Update: UpdateTaskRequest,
    Wait: WaitRequest,
    Stats: StatsRequest,
    Connect: ConnectRequest,
    Shutdown: ShutdownRequest,
}

impl Method {
    /// The fields of the request whose messages have repeated fields of their own.
    fn nested(self) -> &'static [u32] {
        match self {
            Self::Create => CreateTaskRequest::NESTED,
            _ => &[],
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A name that is no method.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task service has no method {0:?}")]
pub struct NotAMethod(String);

impl FromStr for Method {
    type Err = NotAMethod;

    fn from_str(name: &str) -> Result<Self, NotAMethod> {
        let found = Self::ALL.iter().find(|method| method.to_string() == name);
        found.copied().ok_or_else(|| NotAMethod(name.to_owned()))
    }
}

/// A request that is no call of the task service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotACall {
    /// The request is for another service.
    #[error("service {0}")]
    Service(String),
    /// The service does not have the method.
    #[error("method {0}")]
    Method(String),
    /// The method's request cannot be read.
    #[error("ttrpc: error unmarshalling payload of {method}: {cause}")]
    Payload {
        /// The method of the request.
        method: Method,
        /// Why the request cannot be read. It is part of the message, because only the message reaches the client.
        cause: Unreadable,
    },
}

impl NotACall {
    /// The status that containerd's own server answers (ttrpc's services.go). That server has no bound for entries.
    #[must_use]
    pub fn status(&self) -> Status {
        let code = match self {
            Self::Service(_) | Self::Method(_) => Code::Unimplemented,
            Self::Payload { cause, .. } => cause.code(Code::Internal),
        };
        code.status(self)
    }
}

impl Call {
    /// Reads a request.
    ///
    /// # Errors
    /// The request is for another service or method, or it is malformed.
    pub fn parse(request: &ttrpc::Request) -> Result<Self, NotACall> {
        if !SERVICES.contains(&request.service.as_str()) {
            return Err(NotACall::Service(request.service.clone()));
        }
        let method: Method =
            request.method.parse().map_err(|_| NotACall::Method(request.method.clone()))?;
        Self::decode(method, &request.payload).map_err(|cause| NotACall::Payload { method, cause })
    }
}

/// The answer to a call that succeeds.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the messages have the docs")]
pub enum Answer {
    Empty,
    Create(CreateTaskResponse),
    Start(StartResponse),
    Delete(DeleteResponse),
    State(StateResponse),
    Pids(PidsResponse),
    Wait(WaitResponse),
    Stats(StatsResponse),
    Connect(ConnectResponse),
}

impl Answer {
    /// The encoded answer.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Empty => Empty {}.encode_to_vec(),
            Self::Create(message) => message.encode_to_vec(),
            Self::Start(message) => message.encode_to_vec(),
            Self::Delete(message) => message.encode_to_vec(),
            Self::State(message) => message.encode_to_vec(),
            Self::Pids(message) => message.encode_to_vec(),
            Self::Wait(message) => message.encode_to_vec(),
            Self::Stats(message) => message.encode_to_vec(),
            Self::Connect(message) => message.encode_to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MAX_ENTRIES;

    fn request(service: &str, method: &str, payload: &[u8]) -> ttrpc::Request {
        ttrpc::Request {
            service: service.to_owned(),
            method: method.to_owned(),
            payload: payload.to_owned(),
            ..ttrpc::Request::default()
        }
    }

    #[test]
    fn both_versions_call_the_same() {
        let payload = KillRequest { id: "c1".to_owned(), signal: 9, ..KillRequest::default() };
        for service in SERVICES {
            let call = Call::parse(&request(service, "Kill", &payload.encode_to_vec())).unwrap();
            assert_eq!(call.container(), "c1");
            assert_eq!((call.method(), call), (Method::Kill, Call::Kill(payload.clone())));
        }
    }

    /// An entry takes two bytes in the message. In memory it takes 96 bytes as a mount, and 24 as an option.
    #[test]
    fn a_request_with_too_many_entries_is_refused() {
        let code = |payload: &[u8]| {
            let error = Call::parse(&request(SERVICES[0], "Create", payload)).err()?;
            assert!(error.to_string().contains("4096"), "{error}");
            Some(Code::of(error.status().code))
        };
        let mounts = [0x1a, 0].repeat(MAX_ENTRIES);
        assert_eq!(code(&mounts), None);
        let exhausted = Some(Code::ResourceExhausted);
        assert_eq!(code(&[&mounts[..], &[0x1a, 0]].concat()), exhausted);
        let options = |count| {
            let options = vec![String::new(); count];
            let rootfs = vec![Mount { options, ..Mount::default() }];
            CreateTaskRequest { rootfs, ..CreateTaskRequest::default() }.encode_to_vec()
        };
        assert_eq!(code(&options(MAX_ENTRIES - 1)), None);
        assert_eq!(code(&options(MAX_ENTRIES)), exhausted);
    }

    #[test]
    fn what_is_no_call_gets_ttrpcs_own_answer() {
        let status = |service, method, payload: &[u8]| {
            let error = Call::parse(&request(service, method, payload)).unwrap_err();
            (Code::of(error.status().code), error.status().message)
        };
        let of = |code, text: &str| (code, text.to_owned());
        assert_eq!(status("a.b", "Kill", &[]), of(Code::Unimplemented, "service a.b"));
        assert_eq!(status(SERVICES[0], "kill", &[]), of(Code::Unimplemented, "method kill"));
        let (code, text) = status(SERVICES[0], "Kill", &[0xff]);
        assert_eq!(code, Code::Internal);
        assert!(text.starts_with("ttrpc: error unmarshalling payload of Kill: "), "{text}");
    }
}
