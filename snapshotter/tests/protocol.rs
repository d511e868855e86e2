//! The program at its socket, as containerd calls it: requests that are refused, bytes that are no request, a second program, and
//! the end. Nothing here makes a volume: that is for the guests of the lab.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use prost::Message;
use sharedroot_task::messages::snapshots::*;
use sharedroot_task::messages::{Empty, FieldMask};
use tokio::runtime::{Builder, Runtime};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

/// A running program with a state directory of its own.
struct Server {
    dir: tempfile::TempDir,
    child: Child,
}

impl Server {
    fn start() -> Self {
        let dir = configured();
        let mut command = command(&dir);
        command.args(["--address", dir.path().join("run/socket").to_str().unwrap()]);
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let server = Self { dir, child };
        within("it listens", || UnixStream::connect(server.socket()).is_ok());
        server
    }

    /// As systemd starts it: with a socket that listens already.
    fn on(listener: UnixListener) -> Self {
        let dir = configured();
        let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --config \"$1\" 3<&0 < /dev/null";
        let child = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_sharedrootd")])
            .arg(dir.path().join("config.toml"))
            .stdin(OwnedFd::from(listener))
            .spawn();
        Self { dir, child: child.unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/socket")
    }

    fn client(&self) -> Client {
        Client::of(&self.socket())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory with a configuration that keeps everything in it.
fn configured() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &dir.path().join("state"));
    dir
}

fn configure(dir: &Path, state: &Path) {
    let (run, state) = (dir.join("run"), state.display());
    let run = run.display();
    let config = format!("[pool]\nname = \"none\"\nstate_dir = \"{state}\"\nrun_dir = \"{run}\"\n");
    fs::write(dir.join("config.toml"), config).unwrap();
}

fn command(dir: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sharedrootd"));
    command.args(["--config", dir.path().join("config.toml").to_str().unwrap()]);
    command
}

#[track_caller]
fn within(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

struct Client {
    runtime: Runtime,
    grpc: Grpc<Channel>,
}

impl Client {
    fn of(socket: &Path) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = Endpoint::try_from(format!("unix:{}", socket.display())).unwrap();
        let channel = runtime.block_on(endpoint.connect()).unwrap();
        Self { runtime, grpc: Grpc::new(channel) }
    }

    fn call<Q, A>(&mut self, method: &str, request: Q) -> Result<A, (Code, String)>
    where
        Q: Message + Default + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let path: PathAndQuery = format!("/{SERVICE}/{method}").parse().unwrap();
        let answer = self.runtime.block_on(async {
            self.grpc.ready().await.unwrap();
            self.grpc.unary(Request::new(request), path, ProstCodec::default()).await
        });
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| (status.code(), status.message().to_owned()))
    }

    #[track_caller]
    fn refused<Q: Message + Default + 'static>(
        &mut self,
        method: &str,
        request: Q,
    ) -> (Code, String) {
        self.call::<Q, Empty>(method, request).expect_err(method)
    }
}

fn space() -> String {
    "sharedroot".to_owned()
}

#[test]
fn what_cannot_be_meant_is_refused_by_the_code_that_containerd_knows() {
    let server = Server::start();
    let mut client = server.client();
    let key = || "default/1/k".to_owned();
    let prepare = PrepareSnapshotRequest { snapshotter: space(), key: key(), ..Default::default() };
    for (request, named) in [
        (PrepareSnapshotRequest { key: "k".repeat(4097), ..prepare.clone() }, "4096"),
        (PrepareSnapshotRequest { key: String::new(), ..prepare.clone() }, "empty"),
        (PrepareSnapshotRequest { snapshotter: String::new(), ..prepare.clone() }, "snapshotter"),
        (
            PrepareSnapshotRequest {
                labels: [("l".to_owned(), "v".repeat(4096))].into(),
                ..prepare.clone()
            },
            "4097",
        ),
    ] {
        let (code, text) = client.refused("Prepare", request);
        assert!(code == Code::InvalidArgument && text.contains(named), "{code}: {text}");
    }
    let missing = PrepareSnapshotRequest { parent: "nothing".to_owned(), ..prepare };
    let (code, text) = client.refused("Prepare", missing);
    assert!(code == Code::NotFound && text == "there is no parent nothing", "{code}: {text}");
    let (snapshotter, key) = (space(), key());
    let long = || MountsRequest { snapshotter: snapshotter.clone(), key: "k".repeat(4096) };
    assert_eq!(client.refused("Mounts", long()).0, Code::NotFound, "a long key is a key");
    let stat = StatSnapshotRequest { snapshotter: snapshotter.clone(), key: key.clone() };
    assert_eq!(client.refused("Stat", stat.clone()).0, Code::NotFound);
    let usage = UsageRequest { snapshotter: snapshotter.clone(), key: key.clone() };
    assert_eq!(client.refused("Usage", usage).0, Code::NotFound);
    let remove = RemoveSnapshotRequest { snapshotter: snapshotter.clone(), key: key.clone() };
    assert_eq!(client.refused("Remove", remove).0, Code::NotFound);
    let commit = CommitSnapshotRequest {
        snapshotter: snapshotter.clone(),
        key,
        name: "n".to_owned(),
        ..Default::default()
    };
    assert_eq!(client.refused("Commit", commit).0, Code::NotFound);
    let update = UpdateSnapshotRequest { snapshotter: snapshotter.clone(), ..Default::default() };
    assert_eq!(client.refused("Update", update.clone()).0, Code::InvalidArgument);
    let info = Info { name: "n".to_owned(), ..Default::default() };
    let mask = FieldMask { paths: vec!["kind".to_owned()] };
    let update = UpdateSnapshotRequest { info: Some(info), update_mask: Some(mask), ..update };
    assert_eq!(client.refused("Update", update).0, Code::NotFound);
    for filter in ["name==\"x", "labels.|a|", "name=~x", "\0"] {
        let filters = vec![filter.to_owned()];
        let list = ListSnapshotsRequest { snapshotter: snapshotter.clone(), filters };
        let (code, text) = client.refused("List", list);
        assert!(code == Code::InvalidArgument && text.contains("at byte"), "{code}: {text}");
    }
    assert_eq!(client.refused("Other", stat).0, Code::Unimplemented);
    let cleanup = CleanupRequest { snapshotter };
    client.call::<_, Empty>("Cleanup", cleanup).unwrap();
}

/// A client that calls while nobody serves the socket gets its answer when systemd has started the program, also the next one.
#[test]
fn systemds_socket_answers_while_the_program_is_not_there() {
    let sockets = tempfile::tempdir().unwrap();
    let path = sockets.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    for _ in 0..2 {
        let at = path.clone();
        let stat = StatSnapshotRequest { snapshotter: space(), key: "k".to_owned() };
        let early = std::thread::spawn(move || Client::of(&at).refused("Stat", stat).0);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!early.is_finished());
        let server = Server::on(listener.try_clone().unwrap());
        assert_eq!(early.join().unwrap(), Code::NotFound);
        drop(server);
    }
}

#[test]
fn bytes_that_are_no_request_end_no_other_client() {
    let server = Server::start();
    let mut client = server.client();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0, 0, 0, 1], &[]] {
        UnixStream::connect(server.socket()).unwrap().write_all(bytes).unwrap();
    }
    let stat = StatSnapshotRequest { snapshotter: space(), key: "k".to_owned() };
    assert_eq!(client.refused("Stat", stat).0, Code::NotFound);
}

#[test]
fn one_program_serves_a_state_directory_and_ends_when_asked() {
    let mut server = Server::start();
    let socket = server.socket();
    let before = everything(server.dir.path());
    // With the same run directory, and with another one.
    let other = tempfile::tempdir().unwrap();
    let state = server.dir.path().join("state");
    configure(other.path(), &state);
    for (dir, lock) in [(&server.dir, "run/snapshotter.lock"), (&other, "state/snapshots.lock")] {
        let mut second = command(dir);
        second.args(["--address", socket.to_str().unwrap()]).stderr(Stdio::piped());
        let said = says(&ended(second.stdin(Stdio::null()).spawn().unwrap()));
        for part in ["another sharedrootd serves the snapshots in ", "systemctl stop sharedrootd"] {
            assert!(said.contains(part), "{said}");
        }
        let lock = server.dir.path().join(lock);
        assert!(said.contains(&format!("`fuser {}` names", lock.display())), "{said}");
        assert_eq!(everything(server.dir.path()), before, "it touched something");
    }
    let stat = StatSnapshotRequest { snapshotter: space(), key: "k".to_owned() };
    assert_eq!(server.client().refused("Stat", stat).0, Code::NotFound, "the first one still does");

    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(server.child.wait().unwrap().success());
    let refused = command(&server.dir).output().unwrap();
    assert!(says(&refused).contains("--address"), "{}", says(&refused));
}

/// Of several programs that start at once one serves, and the others end with the error.
#[test]
fn one_of_many_programs_serves() {
    const MANY: usize = 6;
    for _ in 0..3 {
        let dir = configured();
        let mut programs: Vec<_> = (0..MANY)
            .map(|number| {
                let socket = dir.path().join(format!("run/socket-{number}"));
                let mut command = command(&dir);
                command.arg("--address").arg(socket).stdin(Stdio::null()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        let running = |programs: &mut Vec<Child>| {
            programs
                .iter_mut()
                .filter_map(|child| child.try_wait().unwrap().is_none().then_some(()))
                .count()
        };
        let end = Instant::now() + Duration::from_secs(30);
        while running(&mut programs) > 1 {
            assert!(Instant::now() < end, "{programs:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let serving = programs.iter_mut().position(|child| child.try_wait().unwrap().is_none());
        let serving = serving.expect("one goes on");
        let socket = dir.path().join(format!("run/socket-{serving}"));
        within("it listens", || UnixStream::connect(&socket).is_ok());
        let stat = StatSnapshotRequest { snapshotter: space(), key: "k".to_owned() };
        assert_eq!(Client::of(&socket).refused("Stat", stat).0, Code::NotFound);
        let mut first = programs.remove(serving);
        for other in programs {
            let said = says(&other.wait_with_output().unwrap());
            assert!(said.contains("another sharedrootd serves"), "{said}");
        }
        let sockets = fs::read_dir(dir.path().join("run")).unwrap().flatten();
        let sockets =
            sockets.filter(|entry| entry.file_name().to_string_lossy().starts_with("socket"));
        assert_eq!(sockets.count(), 1, "the others made no socket");
        first.kill().unwrap();
        first.wait().unwrap();
    }
}

/// A file or a directory, with the time of its last change.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    path: PathBuf,
    inode: u64,
    mode: u32,
    changed: (i64, i64),
    content: Vec<u8>,
}

/// Everything below a directory.
fn everything(dir: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let stat = fs::symlink_metadata(&path).unwrap();
        let content = if stat.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let (inode, mode) = (stat.ino(), stat.mode());
        let changed = (stat.ctime(), stat.ctime_nsec());
        found.push(Found { path: path.clone(), inode, mode, changed, content });
        if stat.is_dir() {
            found.extend(everything(&path));
        }
    }
    found.sort();
    found
}

/// What a program said that ends by itself.
#[track_caller]
fn ended(mut program: Child) -> Output {
    let end = Instant::now() + Duration::from_secs(30);
    while program.try_wait().unwrap().is_none() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    let serves = program.kill().is_ok() && program.wait().unwrap().code().is_none();
    assert!(!serves, "it serves, too");
    program.wait_with_output().unwrap()
}

#[track_caller]
fn says(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}
