//! A file system in memory that begins as a copy of the image's directory below it (`tmpcopyup`).

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, openat, readlinkat, statat, symlinkat};
use rustix::io::Errno;
use sharedroot_sys::resolve::Resolve;

/// The mode of directories that are made on the way to a mount.
pub const MADE: u32 = 0o755;

/// What the options said of the directory itself, which the copy must not change.
#[derive(Debug, Clone)]
pub struct CopyUp {
    /// A mode.
    pub mode: bool,
    /// An owner.
    pub uid: bool,
    /// A group.
    pub gid: bool,
    /// The ways to later mounts in it, and to the directory to start in: their names are needed before the content.
    pub ways: Vec<PathBuf>,
}

/// Opens a directory of the image as the container would, its links followed below `root` only.
pub fn directory(root: &Path, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags, Mode::empty())?;
    Resolve::Root.open(&root, path, flags)
}

/// A file system in memory that is to be a copy of the image's directory, and has the directories that are needed before.
#[derive(Debug)]
pub struct Shape {
    copy_up: CopyUp,
    /// The directory as it was made.
    made: Metadata,
    into: PathBuf,
}

impl CopyUp {
    /// Makes the directories and links of what `root` has at `destination`, in the new file system at `into`, that the engine
    /// needs for mounts, and no more: the memory of all others is the container's ([`Shape::fill`]). `None` if the image has no
    /// such directory.
    ///
    /// No process of the container runs yet, and the image's links are followed below `root` only.
    pub fn shape(
        self,
        root: &Path,
        destination: &Path,
        into: &Path,
    ) -> Result<Option<Shape>, String> {
        let from = match directory(root, destination) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.map_err(|e| text("open it", &e))?,
        };
        let made = into.metadata().map_err(|e| text("stat the copy", &e))?;
        for way in &self.ways {
            copy_way(&from, into, destination, way)
                .map_err(|e| text("make the way to a mount in it", &e))?;
        }
        Ok(Some(Shape { copy_up: self, made, into: into.to_owned() }))
    }
}

/// Makes the directories and links on the way, up to one that the image has not; links lead on where they stay in the
/// directory, which is the container's `destination`. The attributes come with the content.
fn copy_way(from: &OwnedFd, into: &Path, destination: &Path, way: &Path) -> Result<(), Errno> {
    let mut way = way.to_owned();
    for _ in 0..MOST_LINKS {
        match copy_to_link(from, into, destination, &way)? {
            Some(behind) => way = behind,
            None => break,
        }
    }
    Ok(())
}

/// The kernel's bound (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Goes up to the first link on the way, and returns where that leads.
fn copy_to_link(
    from: &OwnedFd,
    into: &Path,
    destination: &Path,
    way: &Path,
) -> Result<Option<PathBuf>, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |dir: &OwnedFd, name: &OsStr| openat(dir, name, flags, Mode::empty());
    let mut from = open(from, OsStr::new("."))?;
    let mut to = rustix::fs::open(into, flags, Mode::empty())?;
    let there = |made: Result<(), Errno>| match made {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    };
    let mut done = PathBuf::new();
    let mut names = way.iter();
    while let Some(name) = names.next() {
        let stat = match statat(&from, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            found => found?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                there(mkdirat(&to, name, Mode::from_raw_mode(MADE)))?;
                (from, to) = (open(&from, name)?, open(&to, name)?);
                done.push(name);
            }
            FileType::Symlink => {
                let target = readlinkat(&from, name, [])?;
                there(symlinkat(&target, &to, name))?;
                let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                return Ok(inside(&done, target, destination).map(|led| led.join(names.as_path())));
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// Where a link in the directory `at` leads, if that is below `destination` again.
fn inside(at: &Path, target: &Path, destination: &Path) -> Option<PathBuf> {
    let (mut led, target) = match target.is_absolute() {
        true => (PathBuf::new(), target.strip_prefix(destination).ok()?),
        false => (at.to_owned(), target),
    };
    for part in target.components() {
        match part {
            Component::Normal(name) => led.push(name),
            Component::ParentDir if !led.pop() => return None,
            _ => {}
        }
    }
    Some(led)
}

impl Shape {
    /// Copies the content of the files as a process of the container's cgroup, if that is known, so that the memory which they take is
    /// the container's and has its limit, as with runc.
    pub fn fill(
        &self,
        root: &Path,
        destination: &Path,
        cgroup: Option<&Path>,
    ) -> Result<(), String> {
        let from = directory(root, destination).map_err(|e| text("open it", &e))?;
        let Some(cgroup) = cgroup else { return self.copy(&from, &mut Command::new("cp")) };
        // A process that is there already is moved, whatever `pids.max` says; the kernel takes 0 for who writes it.
        let join = "echo 0 > \"$0/cgroup.procs\" && exec cp \"$@\"";
        self.copy(&from, Command::new("sh").args(["-c", join]).arg(cgroup))
    }

    fn copy(&self, from: &OwnedFd, command: &mut Command) -> Result<(), String> {
        let from = PathBuf::from(format!("/proc/{}/fd/{}/.", std::process::id(), from.as_raw_fd()));
        let into = &self.into;
        let copied = command
            .args(["--recursive", "--no-dereference", "--no-target-directory"])
            .args(["--preserve=mode,ownership,timestamps,links", "--one-file-system", "--"])
            .args([&from, into])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let (ended, said) = first_words(copied).map_err(|e| text("run cp", &e))?;
        match ended.signal() {
            Some(9) => return Err("it takes more memory than the container may have".to_owned()),
            _ if ended.success() => {}
            _ => return Err(said),
        }
        let (given, made) = (&self.copy_up, &self.made);
        if given.uid || given.gid {
            let (uid, gid) = (given.uid.then(|| made.uid()), given.gid.then(|| made.gid()));
            chown(into, uid, gid).map_err(|e| text("chown the copy", &e))?;
        }
        if given.mode {
            let mode = std::fs::Permissions::from_mode(made.mode() & 0o7777);
            std::fs::set_permissions(into, mode).map_err(|e| text("chmod the copy", &e))?;
        }
        Ok(())
    }
}

/// Runs a program until it ends, or has said so much to standard error: it may have a line for each of many files.
fn first_words(command: &mut Command) -> std::io::Result<(ExitStatus, String)> {
    const ENOUGH: u64 = 2048;
    let mut child = command.spawn()?;
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // Whoever writes more gets EPIPE.
        stderr.take(ENOUGH).read_to_end(&mut said)?;
    }
    Ok((child.wait()?, String::from_utf8_lossy(&said).trim().to_owned()))
}

fn text(what: &str, error: &dyn std::fmt::Display) -> String {
    format!("{what}: {error}")
}
