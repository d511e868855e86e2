//! The calls that `start` and `delete` make to a living server of this program, over its socket, beside containerd's calls.
//!
//! `start` announces a container, so that the server does not end before containerd's `Create` comes. `delete` tells that
//! containerd has given a container up.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use prost::Message;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use sharedroot_task::messages::Status;
use sharedroot_task::messages::envelope;
use sharedroot_task::ttrpc::{Client, Request};
use sharedroot_task::{Code, Id};

/// The name of the service.
pub const SERVICE: &str = "dev.sharedroot.shim.v1.Server";

/// How long to wait before a server is asked again that closed the connection: it ends, or was killed.
const PAUSE: Duration = Duration::from_millis(10);

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnCall {
    /// containerd will ask for this container.
    Announce {
        /// The container.
        id: Id,
        /// Its bundle, which is there until containerd gives the container up.
        bundle: PathBuf,
    },
    /// containerd has given this container up.
    GiveUp {
        /// The container.
        id: Id,
    },
}

/// Both calls have this request.
#[derive(Clone, PartialEq, Eq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    bundle: String,
}

impl OwnCall {
    /// Reads a request of this service.
    ///
    /// # Errors
    /// The answer for the caller, if it is no request.
    pub fn parse(request: &Request) -> Result<Self, Status> {
        let invalid = |text: String| Code::InvalidArgument.status(text);
        let Named { id, bundle } = Named::decode(request.payload.as_slice())
            .map_err(|error| invalid(error.to_string()))?;
        let id =
            id.parse().map_err(|error: sharedroot_task::NotAnId| invalid(error.to_string()))?;
        match request.method.as_str() {
            "Announce" => Ok(Self::Announce { id, bundle: bundle.into() }),
            "GiveUp" => Ok(Self::GiveUp { id }),
            method => Err(Code::Unimplemented.status(format!("method {method}"))),
        }
    }

    /// How long the server may take for the answer. It waits for nothing, so it answers at once, unless it is stopped or the
    /// host is busy. containerd waits 5 s for all that `delete` does, and without a bound for `start`.
    fn patience(&self) -> Duration {
        Duration::from_secs(match self {
            Self::Announce { .. } => 10,
            Self::GiveUp { .. } => 1,
        })
    }

    fn request(&self) -> envelope::Request {
        let (method, id, bundle) = match self {
            Self::Announce { id, bundle } => ("Announce", id, bundle.display().to_string()),
            Self::GiveUp { id } => ("GiveUp", id, String::new()),
        };
        envelope::Request {
            service: SERVICE.to_owned(),
            method: method.to_owned(),
            payload: Named { id: id.to_string(), bundle }.encode_to_vec(),
            ..envelope::Request::default()
        }
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The server has done it.
    Done,
    /// No server listens at the socket.
    NoServer,
    /// The server refuses.
    Refused(Status),
}

/// Makes a call to the server that listens at `socket`.
///
/// # Errors
/// The server does not answer.
pub fn ask(socket: &Path, call: &OwnCall) -> io::Result<Answer> {
    let until = Instant::now() + call.patience();
    loop {
        match exchange(socket, call) {
            Ok(Ok(())) => return Ok(Answer::Done),
            Ok(Err(status)) if Code::of(status.code) == Code::Unavailable => {
                return Ok(Answer::NoServer);
            }
            Ok(Err(status)) => return Ok(Answer::Refused(status)),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(Answer::NoServer);
            }
            // Whether the server is gone is told by the next connect(2), and by nothing else.
            Err(e) if is_closed(&e) && Instant::now() < until => sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn exchange(path: &Path, call: &OwnCall) -> io::Result<Result<(), Status>> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // The first one also bounds connect(2) to a server that does not accept (socket(7)).
    for timeout in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, timeout, Some(call.patience()))?;
    }
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let mut stream = UnixStream::from(socket);
    let mut client = Client::default();
    client.call(&call.request()).map_err(io::Error::other)?;
    stream.write_all(client.output())?;
    let mut buffer = [0; 1024];
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            read => read?,
        };
        if let Some(answer) = client.receive(&buffer[..read]).map_err(io::Error::other)? {
            return Ok(answer.map(drop));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread::spawn;

    use sharedroot_task::ttrpc::Server;

    use super::*;

    fn announce() -> OwnCall {
        OwnCall::Announce { id: "c1".parse().unwrap(), bundle: "/run/b".into() }
    }

    fn place(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("shim-own-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    /// Serves one connection after another, with these answers. None closes the connection.
    fn serve(listener: UnixListener, answers: Vec<Option<Result<(), Code>>>) -> Vec<OwnCall> {
        let mut calls = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let Some(answer) = answer else { continue };
            let mut server = Server::default();
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).unwrap();
            let requests = server.receive(&buffer[..read]);
            calls.push(OwnCall::parse(&requests[0]).unwrap());
            let answer = answer.map(|()| Vec::new()).map_err(|code| code.status("no"));
            server.answer(requests[0].stream, answer);
            stream.write_all(server.output()).unwrap();
        }
        calls
    }

    #[test]
    fn a_server_does_it_or_ends_or_refuses() {
        let path = place("answers");
        let listener = UnixListener::bind(&path).unwrap();
        let refused = Some(Err(Code::AlreadyExists));
        let answers = vec![None, Some(Ok(())), Some(Err(Code::Unavailable)), refused];
        let server = spawn(move || serve(listener, answers));
        assert_eq!(ask(&path, &announce()).unwrap(), Answer::Done, "also after a lost connection");
        let give_up = OwnCall::GiveUp { id: "c2".parse().unwrap() };
        assert_eq!(ask(&path, &give_up).unwrap(), Answer::NoServer);
        let Answer::Refused(status) = ask(&path, &announce()).unwrap() else { panic!() };
        assert_eq!(Code::of(status.code), Code::AlreadyExists);
        assert_eq!(server.join().unwrap(), [announce(), give_up, announce()]);
        assert_eq!(ask(&path, &announce()).unwrap(), Answer::NoServer, "the socket is stale");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(ask(&path, &announce()).unwrap(), Answer::NoServer);
    }

    #[test]
    fn what_is_no_call_is_refused() {
        let request = |method: &str, id: &str| Request {
            method: method.to_owned(),
            payload: Named { id: id.to_owned(), bundle: String::new() }.encode_to_vec(),
            ..Request::default()
        };
        let code = |request| Code::of(OwnCall::parse(&request).unwrap_err().code);
        assert_eq!(code(request("Announce", "../c")), Code::InvalidArgument);
        assert_eq!(code(request("Stop", "c1")), Code::Unimplemented);
        let garbage = Request { payload: vec![0xff; 9], ..request("GiveUp", "c1") };
        assert_eq!(code(garbage), Code::InvalidArgument);
    }
}
