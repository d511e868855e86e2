//! A command with its output, its status and a time limit.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The default time limit of a command. It is long because the guest is slow, and shorter than the guest's limit.
const LIMIT: Duration = Duration::from_secs(120);

/// A command to be run.
#[derive(Debug)]
pub struct Cmd {
    command: Command,
    stdin: Option<String>,
    limit: Duration,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Output {
    /// The command line, for messages.
    pub line: String,
    /// The exit code, or 128 and the signal's number, as a shell has it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs `words` and returns what it printed, whatever its status.
#[track_caller]
pub fn run(words: &[&str]) -> Output {
    Cmd::new(words[0]).args(&words[1..]).run()
}

/// Runs `words`, which must succeed, and returns its standard output without the final newline.
#[track_caller]
pub fn out(words: &[&str]) -> String {
    run(words).ok()
}

impl Cmd {
    /// A command without arguments.
    pub fn new(program: &str) -> Self {
        Self { command: Command::new(program), stdin: None, limit: LIMIT }
    }

    /// One more argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.command.arg(arg);
        self
    }

    /// More arguments.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// The working directory.
    pub fn dir(mut self, dir: &std::path::Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// The command's standard input; empty by default.
    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = Some(text.to_owned());
        self
    }

    /// The command's time limit.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the command. Its three streams are files and not pipes, because a container that inherits a pipe and lives on would
    /// keep the pipe open.
    #[track_caller]
    pub fn run(mut self) -> Output {
        let line = format!("{:?}", self.command).replace('"', "");
        let (mut stdin, mut stdout, mut stderr) = (unnamed_file(), unnamed_file(), unnamed_file());
        stdin.write_all(self.stdin.as_deref().unwrap_or("").as_bytes()).expect("write a file");
        stdin.seek(SeekFrom::Start(0)).expect("seek");
        let file = |f: &File| f.try_clone().expect("duplicate a descriptor");
        self.command.stdin(stdin).stdout(file(&stdout)).stderr(file(&stderr));
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("start {line}: {e}"));
        let in_time = ends_within(&child, self.limit);
        if !in_time {
            child.kill().expect("kill a child");
        }
        let status = child.wait().expect("wait for a child");
        if !in_time {
            let (out, err) = (text(&mut stdout), text(&mut stderr));
            panic!("{line}: no end within {:?}\nstdout: {out}\nstderr: {err}", self.limit);
        }
        let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        Output { line, status, stdout: text(&mut stdout), stderr: text(&mut stderr) }
    }
}

impl Output {
    /// The command's standard output without the final newline.
    ///
    /// # Panics
    /// If the command failed; the message has all its output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self}");
        self.stdout.trim_end_matches(['\n', '\r']).to_owned()
    }

    /// The command's output on both streams.
    ///
    /// # Panics
    /// If the command ended with another status.
    #[track_caller]
    pub fn fails(self, status: i32) -> String {
        assert_eq!(self.status, status, "this was to end with {status}: {self}");
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The command's standard output as JSON.
    ///
    /// # Panics
    /// If the command failed or printed something else.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let line = self.line.clone();
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{line}: no JSON: {e}: {text}"))
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, status, stdout, stderr } = self;
        write!(f, "{line} ended with {status}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

/// Waits for the end of a process, and returns whether the process ended in time. Benchmarks take the time of commands, so this
/// does not look for the end every few milliseconds.
fn ends_within(child: &Child, limit: Duration) -> bool {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("a child");
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).expect("a time limit");
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&left)) {
            Ok(ended) => return ended > 0,
            Err(Errno::INTR) => {}
            Err(error) => panic!("wait for a child: {error}"),
        }
    }
}

fn unnamed_file() -> File {
    let path = unique_path("stream");
    let file = File::options().read(true).append(true).create_new(true).open(&path);
    let file = file.unwrap_or_else(|e| panic!("create {}: {e}", path.display()));
    fs::remove_file(&path).expect("remove a file of our own");
    file
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).expect("seek");
    file.read_to_end(&mut bytes).expect("read what a command printed");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A path in the temporary directory that no other call returned.
pub fn unique_path(what: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(unique_name(what))
}

/// A name that no other call returned.
pub fn unique_name(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "no end within 50ms\nstdout: begun\n")]
    fn a_command_that_takes_too_long_is_ended() {
        Cmd::new("sh")
            .args(&["-c", "echo begun; exec sleep 5"])
            .limit(Duration::from_millis(50))
            .run();
    }
}
