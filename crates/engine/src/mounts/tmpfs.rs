//! File systems in memory over directories of the image: they have the directory's mode, begin as a copy of it where
//! `tmpcopyup` says so, which podman does for every `--tmpfs`, and have the directory that the process starts in. The engine
//! does none of it: it is told the mode, and gets a bind of what was made.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use libcontainer::syscall::linux::MountOption;
use oci_spec::runtime::Mount;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, openat, readlinkat, statat, symlinkat};
use rustix::io::Errno;
use sharedroot_sys::mount::Setting;
use sharedroot_sys::resolve::Resolve;

use super::propagation;
use crate::features::RECURSIVE;

/// The option's name.
pub const OPTION: &str = "tmpcopyup";

/// The mode of directories that are made on the way to a mount.
const MADE: u32 = 0o755;

/// Gives each file system in memory whose options say no mode that of the directory it lies over.
///
/// What an earlier mount covers is not the image's. One over no directory of the image has the kernel's mode, 1777, as with
/// runc: `root` must not have the mount points yet that are made for the container.
pub fn take_modes(mounts: &mut [Mount], root: &Path) {
    for index in 0..mounts.len() {
        let (earlier, rest) = mounts.split_at_mut(index);
        let mount = &mut rest[0];
        let place = propagation::place(mount);
        if mount.typ().as_deref() != Some("tmpfs")
            || propagation::bind(mount).is_some()
            || earlier.iter().any(|other| place.starts_with(propagation::place(other)))
        {
            continue;
        }
        let found = directory(root, mount.destination());
        let mut options = mount.options().clone().unwrap_or_default();
        if matches!(found, Err(Errno::NOENT)) {
            // The mount point that will be made is nothing to copy.
            options.retain(|option| option != OPTION);
            mount.set_options(Some(options.clone()));
        }
        if options.iter().any(|option| option.starts_with("mode=")) {
            continue;
        }
        let mode = match found.ok().and_then(|found| rustix::fs::fstat(&found).ok()) {
            Some(found) => found.st_mode & 0o7777,
            // By then it is there: the way to the place of an earlier mount leads over it.
            None if earlier.iter().any(|other| propagation::place(other).starts_with(&place)) => {
                MADE
            }
            None => continue,
        };
        options.push(format!("mode={mode:04o}"));
        mount.set_options(Some(options));
    }
}

/// Opens a directory of the image as the container would, its links followed below `root` only.
fn directory(root: &Path, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, flags, Mode::empty())?;
    Resolve::Root.open(&root, path, flags)
}

/// What there is to be made in a file system in memory, before the container has it.
#[derive(Debug)]
pub struct Content {
    /// A copy of the image's directory.
    copy_up: Option<CopyUp>,
    /// The directory that the process starts in, below the mount.
    start: Option<PathBuf>,
}

/// What the options said of the directory itself, which the copy must not change.
#[derive(Debug, Clone)]
struct CopyUp {
    mode: bool,
    uid: bool,
    gid: bool,
    /// The ways to later mounts in it, and to the directory to start in: their names are needed before the content.
    ways: Vec<PathBuf>,
}

/// Whether the mount is in memory and begins as a copy.
pub fn is_copy(mount: &Mount) -> bool {
    let copies = mount.options().iter().flatten().any(|option| option == OPTION);
    copies && mount.typ().as_deref() == Some("tmpfs")
}

/// The file system's own options, if the mount is in memory and something is to be made in it. `later` are the mounts after it,
/// and `start` is where the process starts.
pub fn wanted<'m>(
    mount: &'m Mount,
    later: &[Mount],
    start: Option<&Path>,
) -> Option<(Vec<Setting<'m>>, Content)> {
    if mount.typ().as_deref() != Some("tmpfs") || propagation::bind(mount).is_some() {
        return None;
    }
    let options = mount.options().as_deref().unwrap_or_default();
    let given = |wanted: &str| {
        options.iter().any(|option| option.split_once('=').is_some_and(|(key, _)| key == wanted))
    };
    let at = propagation::place(mount);
    let start = start.and_then(|start| below(mount, later, start));
    let ways = later.iter().map(propagation::place);
    let ways = ways.filter_map(|place| place.strip_prefix(&at).map(Path::to_owned).ok());
    let copy_up = is_copy(mount).then(|| CopyUp {
        mode: given("mode"),
        uid: given("uid"),
        gid: given("gid"),
        ways: ways.chain(start.clone()).collect(),
    });
    if copy_up.is_none() && start.is_none() {
        return None;
    }
    let name = mount.source().as_deref().and_then(Path::to_str).unwrap_or("tmpfs");
    let data = options.iter().filter(|option| is_data(option)).map(|option| {
        match option.split_once('=') {
            Some((key, value)) => Setting::Value(key, value),
            None => Setting::Flag(option),
        }
    });
    let settings = std::iter::once(Setting::Value("source", name)).chain(data).collect();
    Some((settings, Content { copy_up, start }))
}

/// Where the process starts below the mount, if no later mount covers that, and the mount is not `/dev`, in which the engine
/// makes devices.
fn below(mount: &Mount, later: &[Mount], start: &Path) -> Option<PathBuf> {
    if start.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    let parts = start.components().filter(|part| matches!(part, Component::Normal(_)));
    let start: PathBuf = parts.collect();
    let place = propagation::place(mount);
    if later.iter().any(|later| start.starts_with(propagation::place(later)))
        || place == Path::new("dev")
    {
        return None;
    }
    let below = start.strip_prefix(place).ok()?;
    (!below.as_os_str().is_empty()).then(|| below.to_owned())
}

/// Whether the option is the file system's and not the mount's.
fn is_data(option: &str) -> bool {
    option != OPTION
        && !RECURSIVE.contains(&option)
        && !MountOption::known_options().iter().any(|known| known == option)
}

/// Turns a mount for which [`wanted`] said so into the bind of the one that was made.
pub fn as_bind(mount: &mut Mount) {
    let mut options = mount.options().clone().unwrap_or_default();
    options.retain(|option| option != OPTION && !is_data(option));
    options.push("bind".to_owned());
    mount.set_typ(Some("bind".to_owned())).set_options(Some(options));
}

impl Content {
    /// Makes it in the new file system at `into`, which goes over `destination` of `root`. What it returns is to be filled.
    ///
    /// No process of the container runs yet, and no link of the image is followed out of the file system.
    pub fn make(
        &self,
        root: &Path,
        destination: &Path,
        into: &Path,
    ) -> Result<Option<Shape>, String> {
        let shape = self.copy_up.clone().map(|copy_up| copy_up.shape(root, destination, into));
        let shape = shape.transpose()?.flatten();
        let Some(start) = &self.start else { return Ok(shape) };
        let made = pathrs::Root::open(into)
            .and_then(|top| top.mkdir_all(start, &std::fs::Permissions::from_mode(MADE)));
        made.map(|_| shape).map_err(|e| format!("make process.cwd in it: {e}"))
    }
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
    fn shape(self, root: &Path, destination: &Path, into: &Path) -> Result<Option<Shape>, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_file_system_and_of_the_mount_are_told_apart() {
        let text = r#"{"destination":"/run","type":"tmpfs","source":"tmpfs",
            "options":["rw","nosuid","rprivate","rro","size=64m","mode=0755","tmpcopyup","noswap"]}"#;
        let mut mount: Mount = serde_json::from_str(text).unwrap();
        let (settings, content) = wanted(&mount, &[], None).unwrap();
        let copy_up = content.copy_up.unwrap();
        assert!(matches!(
            settings[..],
            [
                Setting::Value("source", "tmpfs"),
                Setting::Value("size", "64m"),
                Setting::Value("mode", "0755"),
                Setting::Flag("noswap")
            ]
        ));
        assert!(copy_up.mode && !copy_up.uid && !copy_up.gid);
        as_bind(&mut mount);
        assert_eq!(mount.typ().as_deref(), Some("bind"));
        let options = mount.options().clone().unwrap();
        assert_eq!(options, ["rw", "nosuid", "rprivate", "rro", "bind"]);
        assert!(wanted(&mount, &[], None).is_none());
    }
    #[test]
    fn the_start_is_made_in_the_last_mount_that_has_it() {
        let mount = |at: &str, more: &str| -> Mount {
            let text = format!(r#"{{"destination":"{at}","type":"tmpfs","source":"tmpfs"{more}}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let start = |at: &str, later: &[Mount], start: &str| {
            let mount = mount(at, "");
            wanted(&mount, later, Some(Path::new(start)))?.1.start
        };
        assert_eq!(start("/x", &[], "/x/a/b").as_deref(), Some(Path::new("a/b")));
        assert_eq!(start("/x/", &[mount("/y", "")], "/x/./a").as_deref(), Some(Path::new("a")));
        assert_eq!(start("/x", &[mount("/x/a", "")], "/x/a/b"), None, "another mount's");
        let others =
            [("/x", "/x"), ("/x", "/"), ("/x", "/xy"), ("/dev", "/dev/a"), ("/x", "/x/../etc")];
        for (at, cwd) in others {
            assert_eq!(start(at, &[], cwd), None, "{at} {cwd}");
        }
        let bind = mount("/x", r#","options":["bind"]"#);
        assert!(wanted(&bind, &[], Some(Path::new("/x/a"))).is_none());
    }
}
