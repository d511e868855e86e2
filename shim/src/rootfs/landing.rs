//! Where a path leads in a container: every symbolic link of the image is resolved below the root, also a link whose
//! target is missing.
//!
//! The kernel resolves only paths that exist. A mount is also made at the target of a dangling link (path_resolution(7)
//! has the rules; runc and crun do so).

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use sharedroot_sys::resolve::Resolve;

use super::error::RootError;

/// The kernel's bound for symbolic links.
const MOST_LINKS: usize = 40;

/// How many names the kernel may look up for one path. For each name of the path this module opens the whole way from the root to
/// the name. 40 links of 2,000 names in a deep directory would take the kernel 164 million look-ups, which are seconds. Every path
/// of PATH_MAX without a link fits: it has at most 2,047 names, which take half of the square.
const MOST_LOOKUPS: usize = 1 << 21;

/// How many bytes the names that are still to be followed may have, with a `/` for each: PATH_MAX. 40 links, each of which leads on
/// through the next in its first name, would have 82,000 names, which no system call takes.
const MOST_REST: usize = 4096;

/// The path, absolute and without `..`.
pub(super) fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

/// Whether `path` exists under exactly this name, without a symbolic link on the way. Such a path does not lead to another
/// place.
pub(super) fn stands(top: impl AsFd, path: &Path) -> bool {
    is_plain(path) && Resolve::RootWithoutLinks.open(top, path, OFlags::PATH).is_ok()
}

/// Resolves `path` below `top` into an absolute path without `.` and `..`. Of symbolic links, only an endless chain stays in
/// the path. The path need not exist.
///
/// `None` if the path leads through a place that `covered` names: the mount's content there is unknown here.
///
/// # Errors
/// [`RootError::ManyNames`].
pub(super) fn landing(
    top: impl AsFd,
    path: &Path,
    covered: impl Fn(&Path) -> bool,
) -> Result<Option<PathBuf>, RootError> {
    Ok(match walk(top, path, covered)? {
        Walk::Ended(at) => Some(at),
        Walk::Covered(_) => None,
    })
}

/// Where `path` leads in a mount, if links of the image lead into the mount: the path in the mount, as far as the image
/// and `covered` determine it. `None` if the path leads elsewhere, or if its rest has `..`.
///
/// # Errors
/// [`RootError::ManyNames`].
pub(super) fn behind_links(
    top: impl AsFd,
    path: &Path,
    covered: impl Fn(&Path) -> bool,
) -> Result<Option<PathBuf>, RootError> {
    Ok(match walk(top, path, covered)? {
        Walk::Covered(at) if is_plain(&at) && at != path => Some(at),
        _ => None,
    })
}

/// How a path through the image ends.
enum Walk {
    /// At the path's end.
    Ended(PathBuf),
    /// At a covered place, with the rest of the path.
    Covered(PathBuf),
}

fn walk(top: impl AsFd, path: &Path, covered: impl Fn(&Path) -> bool) -> Result<Walk, RootError> {
    let names = |path: &Path| path.components().rev().map(|c| c.as_os_str().to_owned()).collect();
    let (mut at, mut rest, mut links): (_, Vec<_>, _) = (PathBuf::from("/"), names(path), 0);
    let size = |names: &[OsString]| names.iter().map(|name| name.len() + 1).sum::<usize>();
    let (mut lookups, mut bytes) = (0, size(&rest));
    while let Some(name) = rest.pop() {
        lookups += at.components().count();
        if lookups > MOST_LOOKUPS || bytes > MOST_REST {
            return Err(RootError::ManyNames { path: path.to_owned() });
        }
        bytes -= name.len() + 1;
        match Path::new(&name).components().next() {
            Some(Component::ParentDir) => {
                at.pop();
            }
            Some(Component::Normal(_)) => {
                let next = at.join(&name);
                match link(&top, &next).filter(|_| links < MOST_LINKS) {
                    Some(target) => {
                        links += 1;
                        if target.is_absolute() {
                            at = PathBuf::from("/");
                        }
                        let more: Vec<_> = names(&target);
                        bytes += size(&more);
                        rest.extend(more);
                    }
                    None => at = next,
                }
                if covered(&at) {
                    at.extend(rest.iter().rev());
                    return Ok(Walk::Covered(at));
                }
            }
            _ => {}
        }
    }
    Ok(Walk::Ended(at))
}

/// The target of the link at `path`, whose directory has no link in its own path.
fn link(top: impl AsFd, path: &Path) -> Option<PathBuf> {
    let open = Resolve::Root.open(top, path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
    let target = rustix::fs::readlinkat(open, "", Vec::new()).ok()?;
    Some(OsString::from_vec(target.into_bytes()).into())
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
        let (top, none) = (File::open(&root).unwrap(), |_: &Path| false);
        let path = Path::new("/").join(&deep);
        let began = Instant::now();
        let refused = landing(&top, &path.join("l0"), none).unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert!(matches!(refused, RootError::ManyNames { .. }), "{refused}");
        assert!(behind_links(&top, &path.join("l0"), none).is_err());
        // The last one of the links alone, and the longest path without a link, which does not exist.
        let last = landing(&top, &path.join("l38"), none).unwrap();
        assert_eq!(last, Some(path.join("l39")));
        let longest = Path::new("/").join("d/".repeat(2047));
        assert_eq!(landing(&top, &longest, none).unwrap().as_deref(), Some(&*longest));
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
        let (top, mount) = (File::open(&root).unwrap(), |at: &Path| at == Path::new("/mount"));
        for walk in [landing, behind_links] {
            let refused = walk(&top, Path::new("/l0"), mount).unwrap_err();
            assert!(matches!(refused, RootError::ManyNames { .. }), "{refused}");
        }
        // One of the links alone.
        let last = behind_links(&top, Path::new("/l38"), mount).unwrap();
        assert_eq!(last, Some(Path::new("/mount").join("d/".repeat(2040))));
        assert_eq!(landing(&top, Path::new("/l38"), mount).unwrap(), None);
        remove_dir_all(root).unwrap();
    }
}
