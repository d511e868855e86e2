//! The first useful work of a container, and how this program finds that it is done.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The first useful work of an image's program.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// The program prints its first line and ends.
    Prints(&'static str),
    /// A server gives its first answer, on the host's loopback device.
    Answers { port: u16, to: &'static str, with: &'static str },
    /// The program runs: a process of this name waits.
    Runs(&'static str),
}

/// The time between two checks. A check is a few system calls of 20 to 35 µs in the lab, so it takes little time from the
/// container.
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(120);

impl Work {
    /// Whether `docker run` stays attached until the work is done, and prints the result.
    pub fn is_printed(self) -> bool {
        matches!(self, Self::Prints(_))
    }

    /// Waits until the work is done, and returns the number of checks.
    ///
    /// # Panics
    /// If the program prints something else, `docker run` fails, or nothing happens for minutes.
    pub fn wait(self, docker_run: &mut Child) -> usize {
        if let Self::Prints(line) = self {
            let mut found = String::new();
            let stdout = docker_run.stdout.take().expect("a pipe");
            BufReader::new(stdout).read_line(&mut found).expect("read what docker run prints");
            assert_eq!(found.trim_end(), line, "docker run prints");
            return 1;
        }
        let end = Instant::now() + PATIENCE;
        for look in 1.. {
            if self.is_seen() {
                return look;
            }
            let ended = docker_run.try_wait().expect("wait for docker run");
            assert!(ended.is_none_or(|status| status.success()), "docker run: {ended:?}");
            assert!(Instant::now() < end, "not within {PATIENCE:?}: {self:?}");
            sleep(PAUSE);
        }
        unreachable!("the range has no end")
    }

    /// Whether the work is done now. Not for work that prints a line.
    pub fn is_seen(self) -> bool {
        match self {
            Self::Prints(_) => false,
            Self::Answers { port, to, with } => answer(port, to, with.len()) == with.as_bytes(),
            Self::Runs(name) => programs().iter().any(|program| program == name),
        }
    }
}

/// The first bytes of an answer; fewer if nobody listens, or if the server closes the connection early.
fn answer(port: u16, to: &str, length: usize) -> Vec<u8> {
    let mut answer = Vec::new();
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = match TcpStream::connect(at) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return answer,
        Err(error) => panic!("connect to {at}: {error}"),
    };
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a time limit");
    // A server that is still starting may accept a connection and close it.
    if stream.write_all(to.as_bytes()).is_ok() {
        let _ = stream.take(length as u64).read_to_end(&mut answer);
    }
    answer
}

/// The names of the init processes of Docker's containers. Before execve(2) the name is the runtime's.
fn programs() -> Vec<String> {
    let Ok(cgroups) = fs::read_dir("/sys/fs/cgroup/docker") else { return Vec::new() };
    let name = |cgroup: fs::DirEntry| {
        let processes = fs::read_to_string(cgroup.path().join("cgroup.procs")).ok()?;
        let first = processes.lines().next()?;
        Some(fs::read_to_string(format!("/proc/{first}/comm")).ok()?.trim_end().to_owned())
    };
    cgroups.flatten().filter_map(name).collect()
}
