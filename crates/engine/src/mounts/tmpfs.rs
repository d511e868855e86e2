//! File systems in memory over directories of the image. They have the directory's mode; with `tmpcopyup`, which podman
//! gives for every `--tmpfs`, they begin as a copy of the directory; and they contain the directory in which the
//! process starts. The engine does none of this. sharedroot gives the engine the mode, and a bind mount of the file
//! system that sharedroot made.

use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use libcontainer::syscall::linux::MountOption;
use oci_spec::runtime::Mount;
use rustix::io::Errno;
use sharedroot_sys::mount::Setting;

use super::propagation;
use super::tmpcopyup::{CopyUp, MADE, Shape, directory};
use crate::features::RECURSIVE;

/// The name of the option.
pub const OPTION: &str = "tmpcopyup";

/// Gives each file system in memory without a mode among its options the mode of the directory that it covers.
///
/// A directory below an earlier mount is not the image's, and gives no mode. A file system that covers no directory of
/// the image has the kernel's mode, 1777, as with runc. So `root` must not have the container's mount points yet.
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
            // The mount point does not exist yet and will be empty, so there is nothing to copy.
            options.retain(|option| option != OPTION);
            mount.set_options(Some(options.clone()));
        }
        if options.iter().any(|option| option.starts_with("mode=")) {
            continue;
        }
        let mode = match found.ok().and_then(|found| rustix::fs::fstat(&found).ok()) {
            Some(found) => found.st_mode & 0o7777,
            // The directory will exist by then: it lies on the path to an earlier mount.
            None if earlier.iter().any(|other| propagation::place(other).starts_with(&place)) => {
                MADE
            }
            None => continue,
        };
        options.push(format!("mode={mode:04o}"));
        mount.set_options(Some(options));
    }
}

/// What must be made in a file system in memory before the container has it.
#[derive(Debug)]
pub struct Content {
    /// A copy of the image's directory.
    copy_up: Option<CopyUp>,
    /// The directory that the process starts in, below the mount.
    start: Option<PathBuf>,
}

/// Whether the mount is a file system in memory that begins as a copy.
pub fn is_copy(mount: &Mount) -> bool {
    let copies = mount.options().iter().flatten().any(|option| option == OPTION);
    copies && mount.typ().as_deref() == Some("tmpfs")
}

/// The file system's own options, if the mount is in memory and content must be made in it. `later` are the mounts
/// after it, and `start` is the directory in which the process starts.
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

/// The path of the start directory below the mount, unless a later mount covers that directory, or the mount is `/dev`,
/// in which the engine makes devices.
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

/// Whether the option is for the file system and not for the mount.
fn is_data(option: &str) -> bool {
    option != OPTION
        && !RECURSIVE.contains(&option)
        && !MountOption::known_options().iter().any(|known| known == option)
}

/// Changes a mount for which [`wanted`] returned options into the bind of the file system that was made.
pub fn as_bind(mount: &mut Mount) {
    let mut options = mount.options().clone().unwrap_or_default();
    options.retain(|option| option != OPTION && !is_data(option));
    options.push("bind".to_owned());
    mount.set_typ(Some("bind".to_owned())).set_options(Some(options));
}

impl Content {
    /// Makes the content in the new file system at `into`, which will cover `destination` of `root`. Returns what must
    /// be filled later.
    ///
    /// No process of the container runs yet, and no symbolic link of the image is followed out of the file system.
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
        made.map(|_| shape).map_err(|e| format!("make process.cwd in the file system: {e}"))
    }
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
