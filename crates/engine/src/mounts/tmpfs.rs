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

use super::places::Places;
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
    let mut earlier = Places::default();
    for mount in mounts {
        let place = propagation::place(mount);
        let on_a_way = earlier.leads_to(&place);
        let is_mounts = earlier.over(&place).is_some();
        earlier.add(place);
        if mount.typ().as_deref() != Some("tmpfs")
            || propagation::bind(mount).is_some()
            || is_mounts
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
            None if on_a_way => MADE,
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

/// What the configuration needs in one mount.
#[derive(Debug, Clone, Default)]
pub struct Inside {
    /// The places of later mounts that are made in this mount and in no mount in it, if this is a copy.
    ways: Vec<PathBuf>,
    /// The directory that the process starts in, unless the mount is `/dev`, in which the engine makes devices.
    start: Option<PathBuf>,
}

/// What the configuration needs in each of its mounts. `start` is the directory in which the process starts.
pub fn insides(mounts: &[Mount], start: Option<&Path>) -> Vec<Inside> {
    let (mut earlier, mut insides) = (Places::default(), vec![Inside::default(); mounts.len()]);
    for mount in mounts {
        let place = propagation::place(mount);
        if let Some(over) = earlier.over(&place).filter(|at| is_copy(&mounts[*at]))
            && let Ok(way) = place.strip_prefix(earlier.path(over))
        {
            insides[over].ways.push(way.to_owned());
        }
        earlier.add(place);
    }
    let plain = |path: &&Path| !path.components().any(|part| part == Component::ParentDir);
    if let Some(start) = start.filter(plain) {
        let parts = start.components().filter(|part| matches!(part, Component::Normal(_)));
        let start: PathBuf = parts.collect();
        let last = earlier.over(&start).map(|over| (over, earlier.path(over)));
        if let Some((over, place)) = last.filter(|(_, place)| *place != Path::new("dev"))
            && let Ok(below) = start.strip_prefix(place)
        {
            insides[over].start = (!below.as_os_str().is_empty()).then(|| below.to_owned());
        }
    }
    insides
}

/// The file system's own options, if the mount is in memory and content must be made in it.
pub fn wanted(mount: &Mount, inside: Inside) -> Option<(Vec<Setting<'_>>, Content)> {
    if mount.typ().as_deref() != Some("tmpfs") || propagation::bind(mount).is_some() {
        return None;
    }
    let options = mount.options().as_deref().unwrap_or_default();
    let given = |wanted: &str| {
        options.iter().any(|option| option.split_once('=').is_some_and(|(key, _)| key == wanted))
    };
    let Inside { ways, start } = inside;
    let copy_up = is_copy(mount).then(|| CopyUp {
        mode: given("mode"),
        uid: given("uid"),
        gid: given("gid"),
        ways: ways.into_iter().chain(start.clone()).collect(),
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
        let (settings, content) = wanted(&mount, Inside::default()).unwrap();
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
        assert!(wanted(&mount, Inside::default()).is_none());
    }
    #[test]
    fn the_start_is_made_in_the_last_mount_that_has_it() {
        let mount = |at: &str, more: &str| -> Mount {
            let text = format!(r#"{{"destination":"{at}","type":"tmpfs","source":"tmpfs"{more}}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let start = |at: &str, later: &[Mount], start: &str| {
            let mounts = [&[mount(at, "")], later].concat();
            let inside = insides(&mounts, Some(Path::new(start))).swap_remove(0);
            wanted(&mounts[0], inside)?.1.start
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
        let inside = insides(std::slice::from_ref(&bind), Some(Path::new("/x/a"))).swap_remove(0);
        assert!(wanted(&bind, inside).is_none());
    }

    #[test]
    fn a_copy_gets_the_ways_to_the_mounts_in_it() {
        let mounts: Vec<Mount> = ["/t", "/t/a", "/t/a/b", "/t/c/d", "/u", "/t/a"]
            .map(|at| {
                serde_json::from_value(serde_json::json!({"destination": at, "type": "tmpfs",
                    "options": ["tmpcopyup"]}))
                .unwrap()
            })
            .into();
        let ways: Vec<_> = insides(&mounts, None).into_iter().map(|one| one.ways).collect();
        let empty = [""; 0].map(PathBuf::from);
        assert_eq!(ways[0], ["a", "c/d"].map(PathBuf::from));
        assert_eq!(ways[1], ["b", ""].map(PathBuf::from));
        assert!(ways[2..].iter().all(|ways| *ways == empty), "{ways:?}");
    }

    /// A look at each of the other mounts would take 3·10^9 comparisons.
    #[test]
    fn the_time_does_not_grow_with_the_square_of_the_mounts() {
        let mount = |n| {
            let at = format!("/common/way/{n}");
            serde_json::from_value(serde_json::json!({"destination": at, "type": "tmpfs",
                "options": ["tmpcopyup"]}))
            .unwrap()
        };
        let mut mounts: Vec<Mount> = (0..50_000).map(mount).collect();
        let began = std::time::Instant::now();
        take_modes(&mut mounts, Path::new("/var/empty"));
        let insides = insides(&mounts, Some(Path::new("/common/way/7/start")));
        assert_eq!(insides[7].start.as_deref(), Some(Path::new("start")));
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }
}
