//! Where a path leads in a container: every symbolic link of the image is resolved below the root, also a link whose
//! target is missing.
//!
//! The kernel resolves only paths that exist. A mount is also made at the target of a dangling link (path_resolution(7)
//! has the rules; runc and crun do so).

use std::cell::Cell;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use sharedroot_engine::Places;
use sharedroot_sys::resolve::Resolve;

use super::error::RootError;
use super::way::{MOST_LINKS, MOST_REST, Way};

/// How many names the kernel may look up for all paths of a configuration together. For each name of a path with links this module
/// opens the whole way from the root to the name. 40 links of 2,000 names in a deep directory would take the kernel 164 million
/// look-ups, which are seconds. Four of the longest paths fit: each has at most 2,047 names, which take half of the square.
const MOST_LOOKUPS: usize = 1 << 23;

/// How many names the kernel may look up for a path in which one more link than [`MOST_LINKS`] is left, whoever opens that path.
const LOOKUPS_OF_LINKS: usize = (MOST_LINKS + 1) * 2048;

/// The path, absolute and without `..`.
pub(super) fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

/// A root in which all paths of a configuration are resolved once.
pub(super) struct Landings<'a> {
    top: BorrowedFd<'a>,
    /// How many names the kernel may still look up.
    lookups: Cell<usize>,
}

impl<'a> Landings<'a> {
    /// The root whose directory is open.
    pub(super) fn below(top: &'a impl AsFd) -> Self {
        Self { top: top.as_fd(), lookups: Cell::new(MOST_LOOKUPS) }
    }

    /// Whether `path` exists under exactly this name, without a symbolic link on the way. Such a path does not lead to another
    /// place.
    pub(super) fn stands(&self, path: &Path) -> bool {
        is_plain(path) && Resolve::RootWithoutLinks.open(self.top, path, OFlags::PATH).is_ok()
    }

    /// Resolves `path` into an absolute path without `.` and `..`. Of symbolic links, only an endless chain stays in the path.
    /// The path need not exist.
    ///
    /// `None` if the path leads through one of the `mounts`: the mount's content there is unknown here.
    ///
    /// # Errors
    /// [`RootError::ManyNames`].
    pub(super) fn landing(
        &self,
        path: &Path,
        mounts: &Places,
    ) -> Result<Option<PathBuf>, RootError> {
        // The places of mounts have no link in them.
        if is_plain(path) && mounts.over(path).is_some() {
            return Ok(None);
        }
        if self.stands(path) { Ok(Some(path.to_owned())) } else { self.led(path, mounts) }
    }

    /// The same as [`Self::landing`], for a path that does not stand.
    ///
    /// # Errors
    /// [`RootError::ManyNames`].
    pub(super) fn led(&self, path: &Path, mounts: &Places) -> Result<Option<PathBuf>, RootError> {
        Ok(match self.walk(path, mounts)? {
            Walk::Ended(at) => Some(at),
            Walk::Covered(_) => None,
        })
    }

    /// Where `path` leads in a mount, if links of the image lead into the mount: the path in the mount, as far as the image
    /// and `mounts` determine it. `None` if the path leads elsewhere, or if its rest has `..`.
    ///
    /// # Errors
    /// [`RootError::ManyNames`].
    pub(super) fn behind_links(
        &self,
        path: &Path,
        mounts: &Places,
    ) -> Result<Option<PathBuf>, RootError> {
        Ok(match self.walk(path, mounts)? {
            Walk::Covered(at) if is_plain(&at) && at != path => Some(at),
            _ => None,
        })
    }

    fn walk(&self, path: &Path, mounts: &Places) -> Result<Walk, RootError> {
        let many = || RootError::ManyNames { path: path.to_owned() };
        let mut way = Way::of(path);
        let all_is_covered = mounts.has(Path::new("/"), 0);
        while let Some(name) = way.rest.pop() {
            if way.bytes > MOST_REST {
                return Err(many());
            }
            way.bytes -= name.len() + 1;
            match Path::new(&name).components().next() {
                Some(Component::ParentDir) => way.up(),
                Some(Component::Normal(_)) => {
                    if way.has_ended() {
                        way.at.push(&name);
                        way.names += 1;
                    } else {
                        self.take_lookups(way.names + 1).ok_or_else(many)?;
                        way.down(&name, |at| link(self.top, at));
                        if way.links == MOST_LINKS {
                            // The path stays as it is from here on, and others open it.
                            self.take_lookups(LOOKUPS_OF_LINKS).ok_or_else(many)?;
                        }
                    }
                    if all_is_covered || mounts.has(&way.at, way.names) {
                        way.at.extend(way.rest.iter().rev());
                        return Ok(Walk::Covered(way.at));
                    }
                }
                _ => {}
            }
        }
        Ok(Walk::Ended(way.at))
    }

    /// Counts names that the kernel looks up. `None` if there are too many.
    fn take_lookups(&self, names: usize) -> Option<()> {
        self.lookups.set(self.lookups.get().checked_sub(names)?);
        Some(())
    }
}

/// How a path through the image ends.
enum Walk {
    /// At the path's end.
    Ended(PathBuf),
    /// At the place of a mount, with the rest of the path.
    Covered(PathBuf),
}

/// The target of the link at `path`, whose directory has no link in its own path. `None` if there is another file.
fn link(top: BorrowedFd<'_>, path: &Path) -> Result<Option<PathBuf>, Errno> {
    let open = Resolve::Root.open(top, path, OFlags::PATH | OFlags::NOFOLLOW)?;
    let target = rustix::fs::readlinkat(open, "", Vec::new()).ok();
    Ok(target.map(|target| OsString::from_vec(target.into_bytes()).into()))
}

#[cfg(test)]
mod tests {
    use std::fs::{File, create_dir_all, remove_dir_all};
    use std::os::unix::fs::symlink;
    use std::time::{Duration, Instant};

    use super::*;

    /// 40 links, each of which goes up and down in a deep directory as often as its length allows.
    #[test]
    fn links_of_many_names_have_a_bound() {
        let root = std::env::temp_dir().join(format!("sharedroot-landing-{}", std::process::id()));
        let deep = "d/".repeat(900);
        create_dir_all(root.join(&deep)).unwrap();
        for n in 0..39 {
            let target = format!("{}l{}", "../d/".repeat(810), n + 1);
            symlink(target, root.join(&deep).join(format!("l{n}"))).unwrap();
        }
        let (top, none) = (File::open(&root).unwrap(), Places::default());
        let landing = |path: &Path| Landings::below(&top).landing(path, &none);
        let path = Path::new("/").join(&deep);
        let began = Instant::now();
        let refused = landing(&path.join("l0")).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert!(matches!(refused, RootError::ManyNames { .. }), "{refused}");
        assert!(Landings::below(&top).behind_links(&path.join("l0"), &none).is_err());
        // The last one of the links alone, and the longest path without a link, which does not exist.
        let last = landing(&path.join("l38")).unwrap();
        assert_eq!(last, Some(path.join("l39")));
        let longest = Path::new("/").join("d/".repeat(2047));
        assert_eq!(landing(&longest).unwrap().as_deref(), Some(&*longest));
        remove_dir_all(root).unwrap();
    }

    /// 39 links, each of which leads through the next and then through 2,000 names. The last one leads into a mount.
    #[test]
    fn names_behind_links_have_a_bound() {
        let name = format!("sharedroot-landing-rest-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        create_dir_all(root.join("d")).unwrap();
        for n in 0..39 {
            let target = format!("l{}/{}", n + 1, "d/".repeat(2040));
            symlink(target, root.join(format!("l{n}"))).unwrap();
        }
        symlink("/mount", root.join("l39")).unwrap();
        let (top, mount) = (File::open(&root).unwrap(), Places::from_iter(["/mount"]));
        let landings = Landings::below(&top);
        for walk in [Landings::landing, Landings::behind_links] {
            let refused = walk(&landings, Path::new("/l0"), &mount).unwrap_err();
            assert!(matches!(refused, RootError::ManyNames { .. }), "{refused}");
        }
        // One of the links alone.
        let last = landings.behind_links(Path::new("/l38"), &mount).unwrap();
        assert_eq!(last, Some(Path::new("/mount").join("d/".repeat(2040))));
        assert_eq!(landings.landing(Path::new("/l38"), &mount).unwrap(), None);
        remove_dir_all(root).unwrap();
    }

    /// 40 links lead to a name that is no link any more: behind them each name is one of 2,000 below the first of 39 links that
    /// take the kernel 2.4 ms, and the kernel would follow those for each name.
    #[test]
    fn no_link_is_followed_behind_the_last() {
        let root =
            std::env::temp_dir().join(format!("sharedroot-landing-more-{}", std::process::id()));
        create_dir_all(root.join("a")).unwrap();
        for n in 0..39 {
            symlink(format!("m{}", n + 1), root.join(format!("m{n}"))).unwrap();
            let next = if n < 38 { format!("k{}", n + 1) } else { "a".to_owned() };
            let target = format!("{}{next}", "a/../".repeat(815));
            symlink(target, root.join(format!("k{n}"))).unwrap();
        }
        symlink(format!("k0/{}", "d/".repeat(2000)), root.join("m39")).unwrap();
        let (top, none) = (File::open(&root).unwrap(), Places::default());
        let landings = Landings::below(&top);
        let began = Instant::now();
        let last = landings.landing(Path::new("/m0"), &none).unwrap();
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
        assert_eq!(last, Some(Path::new("/k0").join("d/".repeat(2000))));
        // Others open that path, so not every mount may have one.
        let paths = std::iter::repeat_n(Path::new("/m0"), 1000);
        let all = paths.map(|path| landings.landing(path, &none)).collect::<Result<Vec<_>, _>>();
        assert!(matches!(all, Err(RootError::ManyNames { .. })), "{all:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        remove_dir_all(root).unwrap();
    }

    /// Each of the paths is short enough.
    #[test]
    fn all_paths_together_have_a_bound() {
        let root =
            std::env::temp_dir().join(format!("sharedroot-landing-all-{}", std::process::id()));
        let deep = "d/".repeat(1000);
        create_dir_all(root.join(&deep)).unwrap();
        symlink(&deep, root.join("l")).unwrap();
        let (top, none) = (File::open(&root).unwrap(), Places::default());
        let landings = Landings::below(&top);
        let began = Instant::now();
        let paths = (0..10_000).map(|n| format!("/l/{n}"));
        let landed = |path: String| landings.landing(Path::new(&path), &none);
        let all = paths.map(landed).collect::<Result<Vec<_>, _>>();
        assert!(matches!(all, Err(RootError::ManyNames { .. })));
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        remove_dir_all(root).unwrap();
    }
}
