//! A process that takes the output of another: a logger (`binary://`), or one that copies into a file (`file://`, and a path that
//! is no FIFO). It is a child of the helper, and of the server after the helper's end. Only this process waits for a slow disk.
//!
//! What a logger gets is what containerd's own shim gives (`pkg/process/io.go`, `NewBinaryIO`; `runtime/v2/logging`): the standard
//! output at descriptor 3, the standard error at 4, at 5 a pipe by which it says that it is ready, and two variables.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid,
};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use sharedroot_sys::clone3::{Relation, fork};
use sharedroot_task::stream::{Logger, Ready, Stream};

use super::{Failed, User, create, fifo};

/// How long a logger may take until it is ready. containerd's own shim waits for ever.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The first descriptor of a logger after its own standard streams.
const FIRST: RawFd = 3;

/// How much is copied at once.
const AT_ONCE: usize = 64 << 10;

/// The process. Dropping this value ends it.
#[derive(Debug)]
pub struct Taker {
    process: Option<OwnedFd>,
    pid: Pid,
}

impl Taker {
    /// Leaves the process to the server, which waits for its end.
    pub fn keep(mut self) -> OwnedFd {
        self.process.take().expect("a process that is kept once")
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            let _ = pidfd_send_signal(process, Signal::KILL);
            let _ = waitpid(Some(self.pid), WaitOptions::empty());
        }
    }
}

/// Starts the process for a stream, and returns what the container's process gets as its standard output and error.
///
/// # Errors
/// [`Failed`]; then no process is left.
pub fn both(stream: &Stream, user: &User<'_>) -> Result<(OwnedFd, OwnedFd, Taker), Failed> {
    let (reader, output) = fifo::pipe()?;
    match stream {
        Stream::Logger(logger) => {
            let (error_reader, error) = fifo::pipe()?;
            let taker = log(logger, user, [reader, error_reader])?;
            Ok((output, error, taker))
        }
        Stream::File(path) | Stream::Path(path) => {
            let file = create(path)?;
            // One pipe for both, so that the order of what is written stays.
            let error = output.try_clone().map_err(|e| Failed::other(format!("dup: {e}")))?;
            let taker = child(|| copy(reader, file)).map_err(|e| {
                Failed::other(format!("start to copy into {}: {e}", path.display()))
            })?;
            Ok((output, error, taker))
        }
        Stream::Null => Err(Failed::invalid("an output that leads nowhere")),
    }
}

/// Starts a process that does something, and nothing else.
fn child(does: impl FnOnce()) -> io::Result<Taker> {
    match fork(None, Relation::Child)? {
        None => {
            does();
            leave()
        }
        Some(pid) => {
            let pid = Pid::from_raw(pid.as_raw()).ok_or(io::ErrorKind::InvalidData)?;
            Ok(Taker { process: Some(pidfd_open(pid, PidfdFlags::empty())?), pid })
        }
    }
}

#[expect(clippy::exit, reason = "this process must not return into the helper's work")]
fn leave() -> ! {
    std::process::exit(0)
}

/// Copies until nobody can write any more. What the file does not take, because its disk is full, is lost: the container goes
/// on, and the file gets what comes later.
fn copy(from: OwnedFd, to: OwnedFd) {
    if keep_only([from.as_raw_fd(), to.as_raw_fd()]).is_err() {
        return;
    }
    let (mut from, mut to) = (File::from(from), File::from(to));
    let mut buffer = vec![0; AT_ONCE];
    loop {
        match from.read(&mut buffer) {
            Ok(count @ 1..) => drop(to.write_all(&buffer[..count])),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Closes every descriptor but the standard streams, which lead nowhere then, and these. Otherwise the process would hold what
/// the helper has open, such as the writing end of its own pipe.
fn keep_only(kept: [RawFd; 2]) -> io::Result<()> {
    silence()?;
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for number in open.into_iter().filter(|number| *number >= FIRST && !kept.contains(number)) {
        // That of the directory itself is closed already.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

fn silence() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, 0.into())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}

/// Starts a logger, and waits until it is ready.
fn log(logger: &Logger, user: &User<'_>, outputs: [OwnedFd; 2]) -> Result<Taker, Failed> {
    let name = logger.program.display();
    let fail = |e: io::Error| Failed::other(format!("start the logger {name}: {e}"));
    let (ready, says) = fifo::pipe()?;
    let (mut failed, mut says_why) = io::pipe().map_err(fail)?;
    let [output, error] = outputs;
    let taker = child(|| {
        let why = execute(logger, user, [&output, &error, &says]);
        let _ = says_why.write_all(&why.raw_os_error().unwrap_or(0).to_le_bytes());
    })
    .map_err(fail)?;
    drop((output, error, says, says_why));
    // Its end is the beginning of the logger's program.
    let mut why = Vec::new();
    failed.read_to_end(&mut why).map_err(fail)?;
    if let Ok(why) = <[u8; 4]>::try_from(why.as_slice()) {
        return Err(fail(io::Error::from_raw_os_error(i32::from_le_bytes(why))));
    }
    match (wait(&ready), logger.ready) {
        (Ok(0), Ready::Written) => {
            Err(Failed::other(format!("the logger {name} ended before it was ready")))
        }
        (Ok(_), _) => Ok(taker),
        (Err(e), _) => Err(Failed::other(format!("wait for the logger {name} to be ready: {e}"))),
    }
}

/// Waits until a byte comes, or the end. Returns the number of bytes.
fn wait(ready: &OwnedFd) -> io::Result<usize> {
    let end = Instant::now() + PATIENCE;
    loop {
        let rest = end.saturating_duration_since(Instant::now());
        let rest = Timespec::try_from(rest).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(ready, PollFlags::IN)], Some(&rest)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(rustix::io::read(ready, &mut [0_u8; 1])?),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Executes the logger in this process. Returns why it could not.
fn execute(logger: &Logger, user: &User<'_>, descriptors: [&OwnedFd; 3]) -> io::Error {
    let place = || {
        silence()?;
        // Above the places of all three, and closed by execve(2).
        let above = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, FIRST + 3);
        let above: Vec<_> = descriptors.into_iter().map(above).collect::<Result<_, _>>()?;
        for number in FIRST..FIRST + 3 {
            // Whoever had it has no use for it: this process executes a program, or ends.
            let _ = nix::unistd::close(number);
        }
        // dup(2) gives the lowest free number, and the copy is not closed by execve(2).
        let placed = above.into_iter().map(|fd| rustix::io::dup(fd.as_fd()));
        placed.collect::<Result<Vec<_>, _>>().map_err(io::Error::from)
    };
    let _placed = match place() {
        Ok(placed) => placed,
        Err(error) => return error,
    };
    let namespace = user.namespace.to_string();
    let variables: [(&str, &OsStr); 2] =
        [("CONTAINER_ID", user.id.as_ref()), ("CONTAINER_NAMESPACE", namespace.as_ref())];
    Command::new(&logger.program)
        .args(&logger.arguments)
        .env_clear()
        .envs(variables)
        .current_dir(user.bundle)
        .exec()
}
