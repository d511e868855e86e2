//! A shim that a test calls at its socket, without containerd: the test executes `start`, is the service that gets the events,
//! and makes each call itself.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use prost::Message;
use serde_json::Value;
use sharedroot_task::messages::Any;
use sharedroot_task::messages::envelope::Request;
use sharedroot_task::messages::event::ForwardRequest;
use sharedroot_task::messages::task::*;
use sharedroot_task::ttrpc::{Client, Server};
use sharedroot_task::{Call, Code, SERVICES};

use crate::bundle::Bundle;
use crate::command::{Cmd, unique_name};
use crate::lab::{TempDir, only_in_lab, wait_for};
use crate::runtime::Runtime;

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// containerd's namespace of the containers.
const NAMESPACE: &str = "socket";

/// The answer to a call: its bytes, or the code and the text of the refusal.
pub type Answer = Result<Vec<u8>, (Code, String)>;

/// A shim with one client. Dropping this value ends its container.
#[derive(Debug)]
pub struct Shim {
    program: String,
    /// The bundle of the container.
    pub bundle: Bundle,
    /// The container's ID, which is also the ID for which the shim was started.
    pub id: String,
    address: String,
    connection: Connection,
    events: Events,
    /// Whether another value of this type has the same server, and is dropped later.
    pub is_guest: bool,
    _log: File,
}

/// The service of a containerd that gets events: its socket, and the topics so far.
#[derive(Debug, Clone)]
struct Events {
    dir: Arc<TempDir>,
    topics: Arc<Mutex<Vec<String>>>,
}

/// A connection to the shim's socket.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    client: Client,
}

impl Shim {
    /// Starts the shim of a runtime type for a container that runs `command`.
    #[track_caller]
    pub fn start(runtime: &str, command: &[&str]) -> Self {
        Self::begin(runtime, Bundle::new(&Runtime::sharedroot(), command), &[])
    }

    /// Starts the shim of a runtime type for the container of `bundle`. The command `caller` executes the shim: its last words
    /// are the shim's command line.
    #[track_caller]
    pub fn begin(runtime: &str, bundle: Bundle, caller: &[&str]) -> Self {
        let (_, name) = runtime.split_once("containerd.").expect("a runtime type");
        let program = format!("containerd-shim-{}", name.replace('.', "-"));
        Self::begin_with(program, bundle, caller, Events::serve())
    }

    /// Starts the shim of the same runtime type and the same containerd for one more container, as [`Self::begin`].
    #[track_caller]
    pub fn another(&self, bundle: Bundle, caller: &[&str]) -> Self {
        let events = self.events.clone();
        let mut other = Self::begin_with(self.program.clone(), bundle, caller, events);
        other.is_guest = other.address == self.address;
        other
    }

    #[track_caller]
    fn begin_with(program: String, bundle: Bundle, caller: &[&str], events: Events) -> Self {
        only_in_lab();
        let log = bundle.path().join("log");
        Cmd::new("mkfifo").args(&[log.to_str().expect("text")]).run().ok();
        // containerd has it open, too: a shim does not wait for a reader.
        let log = File::options().read(true).write(true).open(log).expect("open the log");
        let id = unique_name("socket");
        let socket = events.socket();
        let socket = socket.to_str().expect("text");
        let start = [&program, "-namespace", NAMESPACE, "-address", socket, "-id", &id, "start"];
        let words = [caller, &start].concat();
        let started = Command::new(words[0])
            .args(&words[1..])
            .env("TTRPC_ADDRESS", socket)
            .current_dir(bundle.path())
            .stdin(Stdio::null())
            .output()
            .expect("execute the shim");
        let said = String::from_utf8(started.stdout).expect("text");
        let address = said.trim().strip_prefix("unix://").map(str::to_owned);
        let why = String::from_utf8_lossy(&started.stderr);
        let address = address.unwrap_or_else(|| panic!("{program} says {said:?}: {why}"));
        let connection = Connection::open(&address);
        Self { program, bundle, id, address, connection, events, is_guest: false, _log: log }
    }

    /// `Create`, which must succeed. Returns the PID of the init process.
    #[track_caller]
    pub fn create(&mut self, streams: [&str; 3]) -> i32 {
        let (id, bundle) = (self.id.clone(), self.bundle.str().to_owned());
        let [stdin, stdout, stderr] = streams.map(str::to_owned);
        let create = CreateTaskRequest { id, bundle, stdin, stdout, stderr, ..Default::default() };
        let answer = self.call(&Call::Create(create)).expect("Create");
        let answer = CreateTaskResponse::decode(answer.as_slice()).expect("an answer");
        answer.pid.cast_signed()
    }

    /// `Start` of the container, or of the exec with this ID. Returns the PID.
    ///
    /// # Errors
    /// The shim's refusal.
    pub fn begin_process(&mut self, exec: &str) -> Result<i32, (Code, String)> {
        let start = StartRequest { id: self.id.clone(), exec_id: exec.to_owned() };
        let answer = self.call(&Call::Start(start))?;
        let answer = StartResponse::decode(answer.as_slice()).expect("an answer");
        Ok(answer.pid.cast_signed())
    }

    /// `Exec` with a process of the runtime-spec, which must succeed: it only registers the process.
    #[track_caller]
    pub fn add(&mut self, exec: &str, process: &Value, streams: [&str; 3]) {
        let (id, exec_id) = (self.id.clone(), exec.to_owned());
        let type_url = "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned();
        let spec = Some(Any { type_url, value: process.to_string().into() });
        let [stdin, stdout, stderr] = streams.map(str::to_owned);
        let exec =
            ExecProcessRequest { id, exec_id, stdin, stdout, stderr, spec, ..Default::default() };
        self.call(&Call::Exec(exec)).expect("Exec");
    }

    /// Waits for the end of an exec, and deletes it. Returns its exit status.
    #[track_caller]
    pub fn end(&mut self, exec: &str) -> u32 {
        let (id, exec_id) = (self.id.clone(), exec.to_owned());
        let waited = self.call(&Call::Wait(WaitRequest { id, exec_id })).expect("Wait");
        let status = WaitResponse::decode(waited.as_slice()).expect("an answer").exit_status;
        let (id, exec_id) = (self.id.clone(), exec.to_owned());
        self.call(&Call::Delete(DeleteRequest { id, exec_id })).expect("Delete");
        status
    }

    /// The server and the spawner, when there is no helper, by the init process of the container.
    #[track_caller]
    pub fn processes(&self, init: i32) -> [i32; 2] {
        let server = parent(init).expect("the init process has a parent");
        let file = format!("/proc/{server}/task/{server}/children");
        let spawner = wait_for("there is a spawner and no helper", || {
            let list = fs::read_to_string(&file).expect("the server lives");
            let children = list.split_whitespace().map(|pid| pid.parse().expect("a pid"));
            let ours: Vec<i32> = children.filter(|pid| *pid != init && is_ours(*pid)).collect();
            <[i32; 1]>::try_from(ours).ok()
        });
        [server, spawner[0]]
    }

    /// Another connection.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(&self.address)
    }

    /// Makes a call. After a call without an answer there is another connection.
    #[track_caller]
    pub fn call(&mut self, call: &Call) -> Answer {
        let answer = self.connection.call(call);
        if matches!(answer, Err((Code::DeadlineExceeded, _))) {
            self.connection = self.connect();
        }
        answer
    }

    /// The topics of the events so far.
    pub fn topics(&self) -> Vec<String> {
        self.events.topics.lock().expect("the events").clone()
    }

    /// Waits until the events have these topics.
    #[track_caller]
    pub fn said(&self, topics: &[&str]) {
        wait_for("the events come", || (self.topics().len() >= topics.len()).then_some(()));
        assert_eq!(self.topics(), topics);
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        let id = || self.id.clone();
        let kill = KillRequest { id: id(), signal: 9, all: true, ..Default::default() };
        for call in [
            Call::Kill(kill),
            Call::Wait(WaitRequest { id: id(), ..Default::default() }),
            Call::Delete(DeleteRequest { id: id(), ..Default::default() }),
            Call::Shutdown(ShutdownRequest { id: id(), now: true }),
        ] {
            // What is not there is refused. A process that was never started cannot be waited for by all shims.
            if let Ok(stream) = UnixStream::connect(&self.address) {
                let _ = Connection::of(stream).call(&call);
            }
        }
        // As containerd does for every shim at its end.
        let _ = Command::new(&self.program)
            .args(["-namespace", NAMESPACE, "-address", "/run/nobody", "-id", &self.id])
            .args(["-bundle", self.bundle.str(), "delete"])
            .current_dir(self.bundle.path())
            .stdin(Stdio::null())
            .output();
        if self.is_guest {
            return;
        }
        let gone = |socket: &str| UnixStream::connect(socket).is_err();
        wait_for("the shim has ended", || gone(&self.address).then_some(()));
        let _ = fs::remove_file(&self.address);
    }
}

impl Connection {
    #[track_caller]
    fn open(address: &str) -> Self {
        Self::of(wait_for("the shim listens", || UnixStream::connect(address).ok()))
    }

    fn of(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        Self { stream, client: Client::default() }
    }

    /// Makes a call. A call without an answer has the code `DeadlineExceeded`, and the connection cannot be used any more.
    #[track_caller]
    pub fn call(&mut self, call: &Call) -> Answer {
        self.request(SERVICES[0], &call.method().to_string(), call.payload())
    }

    /// Makes a call by names.
    #[track_caller]
    pub fn request(&mut self, service: &str, method: &str, payload: Vec<u8>) -> Answer {
        let (service, method) = (service.to_owned(), method.to_owned());
        let request = Request { service, method, payload, ..Request::default() };
        self.client.call(&request).expect("the last call has its answer");
        self.stream.write_all(self.client.output()).expect("write to the shim");
        self.client.sent(self.client.output().len());
        let mut buffer = [0; 65536];
        loop {
            let read = match self.stream.read(&mut buffer) {
                Err(e) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&e.kind()) => {
                    return Err((Code::DeadlineExceeded, "no answer".to_owned()));
                }
                Err(e) if e.kind() == ErrorKind::ConnectionReset => 0,
                read => read.expect("read from the shim"),
            };
            if read == 0 {
                return Err((Code::Unavailable, "the shim has closed the connection".to_owned()));
            }
            if let Some(answer) = self.client.receive(&buffer[..read]).expect("an answer") {
                return answer.map_err(|status| (Code::of(status.code), status.message));
            }
        }
    }

    /// Writes bytes that are no request.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }
}

/// Whether a process has the command line of our shim.
fn is_ours(pid: i32) -> bool {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.starts_with("containerd-shim-sharedroot-v2\0")
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:\t"))?.parse().ok()
}

impl Events {
    /// Takes events as containerd does.
    #[track_caller]
    fn serve() -> Self {
        let events = Self { dir: TempDir::new("events").into(), topics: Arc::default() };
        let listener = UnixListener::bind(events.socket()).expect("listen");
        let all = events.topics.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let topics = all.clone();
                thread::spawn(move || take_events(stream, &topics));
            }
        });
        events
    }

    fn socket(&self) -> PathBuf {
        self.dir.0.join("ttrpc")
    }
}

fn take_events(mut stream: UnixStream, topics: &Mutex<Vec<String>>) {
    let (mut server, mut buffer) = (Server::default(), [0; 65536]);
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        for request in server.receive(&buffer[..read]) {
            let forward = ForwardRequest::decode(request.payload.as_slice()).expect("an event");
            let envelope = forward.envelope.expect("an envelope");
            topics.lock().expect("the events").push(envelope.topic);
            server.answer(request.stream, Ok(Vec::new()));
        }
        if stream.write_all(server.output()).is_err() {
            return;
        }
        server.sent(server.output().len());
    }
}
