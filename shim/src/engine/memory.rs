//! File systems in memory over directories of the image: they have the directory's mode, and begin
//! as a copy of it where `tmpcopyup` says so, which podman does for every `--tmpfs`. The engine does
//! neither: it is told the mode, and gets a bind of the copy.

use std::fs::Metadata;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use libcontainer::syscall::linux::MountOption;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use oci_spec::runtime::Mount;

use super::propagation;
use crate::features::RECURSIVE;
use crate::mount::Setting;

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
        let options = mount.options().as_deref().unwrap_or_default();
        let place = propagation::place(mount);
        if mount.typ().as_deref() != Some("tmpfs")
            || propagation::bind(mount).is_some()
            || options.iter().any(|option| option.starts_with("mode="))
            || earlier.iter().any(|other| place.starts_with(propagation::place(other)))
        {
            continue;
        }
        let found = directory(root, mount.destination());
        let mode = match found.ok().and_then(|found| rustix::fs::fstat(&found).ok()) {
            Some(found) => found.st_mode & 0o7777,
            // By then it is there: the way to the place of an earlier mount leads over it.
            None if earlier.iter().any(|other| propagation::place(other).starts_with(&place)) => {
                MADE
            }
            None => continue,
        };
        let mut options = options.to_vec();
        options.push(format!("mode={mode:04o}"));
        mount.set_options(Some(options));
    }
}

/// Opens a directory of the image as the container would, its links followed below `root` only.
fn directory(root: &Path, path: &Path) -> nix::Result<OwnedFd> {
    let top = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = nix::fcntl::open(root, top, Mode::empty())?;
    let how = OpenHow::new()
        .flags(top)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(&root, path, how)
}

/// What the options said of the directory itself, which the copy must not change.
#[derive(Debug, Clone, Copy)]
pub struct CopyUp {
    mode: bool,
    uid: bool,
    gid: bool,
    /// A later mount lies in it, so the engine needs its names.
    mounts_below: bool,
}

/// The file system's own options, if the mount is in memory and begins as a copy.
pub fn wanted(mount: &Mount) -> Option<(Vec<Setting<'_>>, CopyUp)> {
    let options = mount.options().as_ref()?;
    if mount.typ().as_deref() != Some("tmpfs") || !options.iter().any(|option| option == OPTION) {
        return None;
    }
    let settings: Vec<_> = options
        .iter()
        .filter(|option| is_data(option))
        .map(|option| match option.split_once('=') {
            Some((key, value)) => Setting::Value(key, value),
            None => Setting::Flag(option),
        })
        .collect();
    let given = |wanted: &str| {
        options.iter().any(|option| option.split_once('=').is_some_and(|(key, _)| key == wanted))
    };
    let copy_up =
        CopyUp { mode: given("mode"), uid: given("uid"), gid: given("gid"), mounts_below: false };
    Some((settings, copy_up))
}

/// Whether the option is the file system's and not the mount's.
fn is_data(option: &str) -> bool {
    option != OPTION
        && !RECURSIVE.contains(&option)
        && !MountOption::known_options().iter().any(|known| known == option)
}

/// Turns a mount for which [`wanted`] said so into the bind of the one that was made.
pub fn as_bind(mount: &mut Mount) {
    if wanted(mount).is_none() {
        return;
    }
    let mut options = mount.options().clone().unwrap_or_default();
    options.retain(|option| option != OPTION && !is_data(option));
    options.push("bind".to_owned());
    mount.set_typ(Some("bind".to_owned())).set_options(Some(options));
}

/// A file system in memory that has the names of the image's directory, and not the content of its files yet.
#[derive(Debug)]
pub struct Shape {
    copy_up: CopyUp,
    /// The directory as it was made.
    made: Metadata,
    into: PathBuf,
}

impl CopyUp {
    /// Whether a later mount lies in it.
    pub fn with_mounts_below(self, mounts_below: bool) -> Self {
        Self { mounts_below, ..self }
    }

    /// Copies what `root` has at `destination` into the new file system at `into`, without the content of files: the memory
    /// of that is the container's ([`Shape::fill`]), and the engine makes mounts between the names meanwhile. Nothing is
    /// copied yet where no mount lies below. `None` if the image has no such directory.
    ///
    /// No process of the container runs yet, and the image's links are followed below `root` only.
    pub fn shape(
        self,
        root: &Path,
        destination: &Path,
        into: &Path,
    ) -> Result<Option<Shape>, String> {
        let from = match directory(root, destination) {
            Err(nix::errno::Errno::ENOENT) => return Ok(None),
            opened => opened.map_err(|e| text("open it", &e))?,
        };
        let made = into.metadata().map_err(|e| text("stat the copy", &e))?;
        let shape = Shape { copy_up: self, made, into: into.to_owned() };
        if self.mounts_below {
            shape.copy(&from, Command::new("cp").arg("--attributes-only"))?;
        }
        Ok(Some(shape))
    }
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
            .output()
            .map_err(|e| text("run cp", &e))?;
        match copied.status.signal() {
            Some(9) => return Err("it takes more memory than the container may have".to_owned()),
            _ if copied.status.success() => {}
            _ => return Err(String::from_utf8_lossy(&copied.stderr).trim().to_owned()),
        }
        let (given, made) = (self.copy_up, &self.made);
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
        let (settings, copy_up) = wanted(&mount).unwrap();
        assert!(matches!(
            settings[..],
            [
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
        assert!(wanted(&mount).is_none());
    }
}
