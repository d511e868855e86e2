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

/// The kernel's bound for symbolic links.
const MOST_LINKS: usize = 40;

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
pub(super) fn landing(
    top: impl AsFd,
    path: &Path,
    covered: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    match walk(top, path, covered) {
        Walk::Ended(at) => Some(at),
        Walk::Covered(_) => None,
    }
}

/// Where `path` leads in a mount, if links of the image lead into the mount: the path in the mount, as far as the image
/// and `covered` determine it. `None` if the path leads elsewhere, or if its rest has `..`.
pub(super) fn behind_links(
    top: impl AsFd,
    path: &Path,
    covered: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    match walk(top, path, covered) {
        Walk::Covered(at) if is_plain(&at) && at != path => Some(at),
        _ => None,
    }
}

/// How a path through the image ends.
enum Walk {
    /// At the path's end.
    Ended(PathBuf),
    /// At a covered place, with the rest of the path.
    Covered(PathBuf),
}

fn walk(top: impl AsFd, path: &Path, covered: impl Fn(&Path) -> bool) -> Walk {
    let names = |path: &Path| path.components().rev().map(|c| c.as_os_str().to_owned()).collect();
    let (mut at, mut rest, mut links): (_, Vec<_>, _) = (PathBuf::from("/"), names(path), 0);
    while let Some(name) = rest.pop() {
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
                        rest.extend(more);
                    }
                    None => at = next,
                }
                if covered(&at) {
                    return Walk::Covered(rest.iter().rev().fold(at, |at, name| at.join(name)));
                }
            }
            _ => {}
        }
    }
    Walk::Ended(at)
}

/// The target of the link at `path`, whose directory has no link in its own path.
fn link(top: impl AsFd, path: &Path) -> Option<PathBuf> {
    let open = Resolve::Root.open(top, path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
    let target = rustix::fs::readlinkat(open, "", Vec::new()).ok()?;
    Some(OsString::from_vec(target.into_bytes()).into())
}
