//! Where in a container a path leads: every link of the image resolved as below the root, also one
//! whose target is missing.
//!
//! The kernel resolves only what exists. A mount is made where a dangling link points, too
//! (path_resolution(7) for the rules, runc and crun for the custom).

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;
use sharedroot_sys::resolve::Resolve;

/// As in the kernel.
const MOST_LINKS: usize = 40;

/// Absolute and without `..`.
pub(super) fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

/// Whether `path` is there by that very name, without a link on the way: then it leads nowhere else.
pub(super) fn stands(top: impl AsFd, path: &Path) -> bool {
    is_plain(path) && Resolve::RootWithoutLinks.open(top, path, OFlags::PATH).is_ok()
}

/// Resolves `path` below `top` into an absolute path without dots, and without links but those that have no end. It need not
/// exist.
///
/// `None` where the way leads through a place that `covered` names: what lies over it is not known here.
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

/// Where `path` leads in a mount, if links of the image lead there: the place in the mount by names, as far as the image
/// and `covered` know it. `None` where it leads elsewhere, or where the rest climbs.
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

/// How a way through the image ends.
enum Walk {
    /// At its end.
    Ended(PathBuf),
    /// In a place that is covered; with what is left of the way.
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

/// The target of the link at `path`, whose directory has no links in it.
fn link(top: impl AsFd, path: &Path) -> Option<PathBuf> {
    let open = Resolve::Root.open(top, path, OFlags::PATH | OFlags::NOFOLLOW).ok()?;
    let target = rustix::fs::readlinkat(open, "", Vec::new()).ok()?;
    Some(OsString::from_vec(target.into_bytes()).into())
}
