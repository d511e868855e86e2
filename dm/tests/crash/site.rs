//! The pool of one crash test: its directories, its processes, its end.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::umount;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use sharedroot_dm::{Backing, Bytes, PoolConfig};

use crate::crash::{mapper, story};

/// An error in a test, with its sources in one line.
pub(crate) type Failed = Box<dyn std::error::Error>;

/// Unmounts a file system that may be in use for a moment: a child that another lane starts has all open files of this process
/// until it runs its program.
pub(crate) fn unmount(at: &Path) -> nix::Result<()> {
    for _ in 0..1000 {
        match umount(at) {
            Err(Errno::EBUSY) => sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
    umount(at)
}

/// Prints in spite of libtest's capture, because the results of a crash test are worth reading when the test passes, too.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Runs a tool and returns what it printed. The error has what it printed to stderr.
pub(crate) fn tool(program: &str, arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    Err(format!("{program} {}: {}: {out} {err}", arguments.join(" "), output.status).into())
}

/// The place of a crash test's pool.
pub(crate) struct Site {
    pub(crate) config: PoolConfig,
    /// Contains the state directory. May be a file system of its own.
    pub(crate) disk: PathBuf,
    /// The mount point of the story's volumes.
    pub(crate) mount: PathBuf,
    /// The tree that the story copies into a base.
    pub(crate) content: PathBuf,
}

impl Site {
    /// Creates the directories of the pool `pool`, whose state is in `disk`.
    pub(crate) fn new(pool: &str, disk: &Path) -> Self {
        let usable = nix::unistd::geteuid().is_root() && Path::new("/dev/mapper/control").exists();
        assert!(usable, "needs root and device-mapper: run it with `hack/test`");
        let run = PathBuf::from(format!("/run/sharedroot-crash-{pool}"));
        let name = pool.parse().expect("a pool name");
        let mut config = PoolConfig::on_loop(name, disk.join("state"), run.join("locks"));
        config.backing = Backing::Loop { data: Bytes::mib(64), metadata: Bytes::mib(4) };
        let site = Self {
            config,
            disk: disk.to_owned(),
            mount: run.join("mount"),
            content: run.join("content"),
        };
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        for dir in [&site.disk, &site.mount, &site.content] {
            private.create(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        }
        story::write_content(&site.content).expect("the content of a base");
        site
    }

    pub(crate) fn metadata(&self) -> PathBuf {
        self.config.state_dir.join(format!("{}.metadata", self.config.name))
    }

    /// A process of this binary that runs the test function `act`. It leads a process group with the processes that it starts.
    pub(crate) fn child(&self, act: &str, settings: &[(&str, &str)]) -> Running {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", act, "--ignored", "--nocapture", "--test-threads=1"])
            .env("TEST_POOL", self.config.name.as_ref())
            .env("TEST_DISK", &self.disk)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Running { child, lines }
    }

    /// The site that a child's environment names.
    pub(crate) fn of_child() -> Self {
        let get = |name| std::env::var(name).expect("only Site::child starts a child");
        println!(); // The harness has begun a line.
        Self::new(&get("TEST_POOL"), Path::new(&get("TEST_DISK")))
    }

    /// Removes the mount that a killed story left, as the runtime does.
    pub(crate) fn unmount(&self) {
        while unmount(&self.mount).is_ok() {}
    }

    /// Removes everything without the crate under test, because a step that failed may have left anything.
    pub(crate) fn clear(&self) -> Result<(), Failed> {
        self.detach()?;
        for dir in [&self.config.state_dir, &self.config.run_dir] {
            if dir.exists() {
                fs::remove_dir_all(dir)?;
            }
        }
        Ok(())
    }

    /// Removes mounts, dm devices and loop devices. The files stay.
    pub(crate) fn detach(&self) -> Result<(), Failed> {
        self.unmount();
        let mut left = self.dm_names()?;
        for attempt in 0.. {
            for device in &left {
                let _ = mapper::remove(device);
            }
            left = self.dm_names()?;
            if left.is_empty() {
                break;
            }
            if attempt == 400 {
                return Err(format!("cannot remove {}", left.join(" ")).into());
            }
            sleep(Duration::from_millis(50));
        }
        for line in self.loops()? {
            let node = line.split_whitespace().next().expect("a node");
            tool("losetup", &["--detach", node])?;
        }
        Ok(())
    }

    /// The dm devices of this pool. The pool's own device is the last.
    pub(crate) fn dm_names(&self) -> Result<Vec<String>, Failed> {
        let pool = format!("sharedroot-{}", self.config.name);
        let volume = format!("{pool}-");
        let mut names = mapper::names()?;
        names.retain(|name| *name == pool || name.starts_with(&volume));
        names.sort_by_key(|name| (*name == pool, name.clone()));
        Ok(names)
    }

    /// The loop devices of this site's files, also of deleted files: node, file, and options.
    pub(crate) fn loops(&self) -> Result<Vec<String>, Failed> {
        // Not losetup(8), which takes a hundred times as long in a guest.
        let ours = self.config.state_dir.to_str().expect("text");
        let mut found = Vec::new();
        for entry in fs::read_dir("/sys/block")? {
            let dir = entry?.path();
            let read = |name: &str| fs::read_to_string(dir.join(name));
            // A device without a file, or whose file is detached at this moment, has no such directory.
            let Ok(file) = read("loop/backing_file") else { continue };
            if file.contains(ours) {
                let mut line = format!(
                    "/dev/{} {}",
                    dir.file_name().expect("a name").display(),
                    file.trim_end()
                );
                for option in ["loop/autoclear", "ro", "loop/sizelimit", "loop/offset"] {
                    line.push_str(&format!(" {}", read(option)?.trim_end()));
                }
                found.push(line);
            }
        }
        Ok(found)
    }
}

/// A child and what it prints.
pub(crate) struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// The next line; `None` if the child has ended.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).expect("the child's output");
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Sends SIGKILL to the child and the processes that it started.
    pub(crate) fn kill(mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        let _ = killpg(group, Signal::SIGKILL);
        self.child.wait().expect("dead");
    }

    /// The process group of the child and the processes that it started.
    pub(crate) fn group(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    /// Waits for the end of a child that was killed. If the child ended by itself, the error has its stderr.
    pub(crate) fn reap(self) -> Result<Option<String>, Failed> {
        let output = self.child.wait_with_output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Ok(output.status.code().map(|code| format!("exit code {code}: {}", text(&output.stderr))))
    }

    /// Waits for the child's end; its stderr is the error.
    pub(crate) fn end(mut self) -> Result<(), Failed> {
        while self.line().is_some() {}
        let output = self.child.wait_with_output()?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into()),
        }
    }
}
