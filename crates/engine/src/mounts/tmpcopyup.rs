//! A file system in memory that begins as a copy of the directory that it covers in the image (`tmpcopyup`).

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

/// The mode of directories that are made on the path to a mount.
pub const MADE: u32 = 0o755;

/// The attributes of the directory itself that the mount's options give, and that the copy must not change.
#[derive(Debug, Clone)]
pub struct CopyUp {
    /// A mode.
    pub mode: bool,
    /// An owner.
    pub uid: bool,
    /// A group.
    pub gid: bool,
    /// The paths to later mounts in the file system, and to the directory in which the process starts. These names are
    /// needed before the content.
    pub ways: Vec<PathBuf>,
}

/// Opens a directory of the image as a process in the container would: symbolic links cannot lead out of `root`.
pub fn directory(root: &Path, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags, Mode::empty())?;
    Resolve::Root.open(&root, path, flags)
}

/// A file system in memory that will be a copy of the image's directory. Only the directories that are needed earlier
/// are in it so far.
#[derive(Debug)]
pub struct Shape {
    copy_up: CopyUp,
    /// The directory's metadata when it was made.
    made: Metadata,
    into: PathBuf,
}

impl CopyUp {
    /// Makes, in the new file system at `into`, the directories and links of `destination` in `root` that the engine
    /// needs for mounts, and no others: the memory of all others must be charged to the container ([`Shape::fill`]).
    /// `None` if the image has no such directory.
    ///
    /// No process of the container runs yet, and the image's symbolic links cannot lead out of `root`.
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

/// Makes the directories and links on a path, up to the first component that the image does not have. A link is
/// followed if its target is inside the directory, which is the container's `destination`. The attributes are copied
/// with the content.
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

/// The kernel's bound for symbolic links on a path (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Makes directories up to the first link on the path, and returns the link's target.
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

/// The target of a link in the directory `at`, if the target is below `destination`.
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
    /// Copies the content of the files as a process of the container's cgroup, if the cgroup is known. So the memory of
    /// the copy is charged to the container and limited, as with runc.
    pub fn fill(
        &self,
        root: &Path,
        destination: &Path,
        cgroup: Option<&Path>,
    ) -> Result<(), String> {
        let from = directory(root, destination).map_err(|e| text("open it", &e))?;
        let Some(cgroup) = cgroup else { return self.copy(&from, &mut Command::new("cp")) };
        // The kernel moves an existing process whatever `pids.max` says. 0 stands for the process that writes.
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
            Some(9) => {
                return Err("the copy takes more memory than the container may have".to_owned());
            }
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

/// Runs a program until it ends, or has written `ENOUGH` bytes to standard error: it may write a line for each of many
/// files.
fn first_words(command: &mut Command) -> std::io::Result<(ExitStatus, String)> {
    const ENOUGH: u64 = 2048;
    let mut child = command.spawn()?;
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // If the program writes more, it gets EPIPE.
        stderr.take(ENOUGH).read_to_end(&mut said)?;
    }
    Ok((child.wait()?, String::from_utf8_lossy(&said).trim().to_owned()))
}

fn text(what: &str, error: &dyn std::fmt::Display) -> String {
    format!("{what}: {error}")
}
