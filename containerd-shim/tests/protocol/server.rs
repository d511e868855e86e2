//! A server, and a client of it.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use prost::Message;
use sharedroot_task::messages::Status;
use sharedroot_task::messages::envelope::Request;
use sharedroot_task::messages::task::{ConnectRequest, CreateTaskRequest, ShutdownRequest};
use sharedroot_task::ttrpc::Client;
use sharedroot_task::{Call, Code, SERVICES};

/// The request of both calls that `start` and `delete` of this program make.
#[derive(Clone, PartialEq, Eq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    bundle: String,
}

/// A server with a directory of its own.
pub struct Shim {
    /// The server.
    pub child: Child,
    /// The directory.
    pub dir: PathBuf,
}

impl Shim {
    pub fn start(name: &str) -> Self {
        Self::with_limits(name, "true")
    }

    /// With limits that a shell sets.
    pub fn with_limits(name: &str, limits: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("shim-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("bundle")).unwrap();
        fs::write(dir.join("bundle/config.json"), "{}").unwrap();
        let listener = UnixListener::bind(dir.join("socket")).unwrap();
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let words = ["events", "socket", "state", "bundle"].map(path);
        let child = Command::new("sh")
            .args(["-c", &format!("{limits}; exec \"$@\""), "sh"])
            .arg(env!("CARGO_BIN_EXE_containerd-shim-sharedroot-v2"))
            .args(["serve", "default", "c1"])
            .args(words)
            .arg("true")
            .stdin(OwnedFd::from(listener))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    pub fn connect(&self) -> Connection {
        let stream = UnixStream::connect(self.dir.join("socket")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Connection { stream, client: Client::default() }
    }

    pub fn bundle(&self) -> String {
        self.dir.join("bundle").canonicalize().unwrap().to_str().unwrap().to_owned()
    }

    /// The server's only child, if there is one: the spawner.
    pub fn child(&self) -> Option<i32> {
        let server = self.child.id();
        let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
        children.unwrap().split_whitespace().next().map(|pid| pid.parse().unwrap())
    }

    /// The spawner, which is there before the first call is answered.
    pub fn spawner(&self, client: &mut Connection) -> i32 {
        client.call(&Call::Connect(ConnectRequest::default())).unwrap();
        self.child().expect("a spawner")
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A client.
pub struct Connection {
    pub stream: UnixStream,
    client: Client,
}

impl Connection {
    pub fn call(&mut self, call: &Call) -> Result<Vec<u8>, Status> {
        self.request(SERVICES[0], &call.method().to_string(), call.payload())
    }

    pub fn request(
        &mut self,
        service: &str,
        method: &str,
        payload: Vec<u8>,
    ) -> Result<Vec<u8>, Status> {
        let (service, method) = (service.to_owned(), method.to_owned());
        let request = Request { service, method, payload, ..Request::default() };
        self.client.call(&request).unwrap();
        self.stream.write_all(self.client.output()).unwrap();
        self.client.sent(self.client.output().len());
        loop {
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the server has closed the connection");
            if let Some(answer) = self.client.receive(&buffer[..read]).unwrap() {
                return answer;
            }
        }
    }

    /// What `start` and `delete` of this program tell the server.
    pub fn own_call(&mut self, method: &str, id: &str, bundle: &str) -> Result<(), Code> {
        let request = Named { id: id.to_owned(), bundle: bundle.to_owned() };
        let answer = self.request("dev.sharedroot.shim.v1.Server", method, request.encode_to_vec());
        answer.map(drop).map_err(|status| Code::of(status.code))
    }

    pub fn shut_down(&mut self, id: &str) {
        self.call(&Call::Shutdown(ShutdownRequest { id: id.to_owned(), now: false })).unwrap();
    }

    pub fn code(&mut self, call: &Call) -> (Code, String) {
        let status = self.call(call).unwrap_err();
        (Code::of(status.code), status.message)
    }
}

pub fn create(shim: &Shim) -> CreateTaskRequest {
    CreateTaskRequest { id: "c1".to_owned(), bundle: shim.bundle(), ..Default::default() }
}

pub fn within(what: &str, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !ready() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
