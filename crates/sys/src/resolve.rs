//! Paths that others wrote, resolved by the kernel below a directory and never outside of it (openat2(2)).
//!
//! A symbolic link of an image, a mount of a container and `..` must not lead out of the directory. [`Resolve`] has a name for
//! each way to treat them: a caller names what it needs, and no caller chooses flags of its own.
//!
//! ```
//! # use rustix::fs::OFlags;
//! use sharedroot_sys::resolve::Resolve;
//!
//! # fn main() -> std::io::Result<()> {
//! let top = std::fs::File::open("/usr")?;
//! assert!(Resolve::NoLinks.open(&top, "bin", OFlags::PATH).is_ok());
//! assert!(Resolve::NoLinks.open(&top, "../etc", OFlags::PATH).is_err());
//! # Ok(())
//! # }
//! ```

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// How often a path is resolved. The kernel gives up at a `..` (EAGAIN) if anybody on the host renames a file or changes the mounts
/// meanwhile, because `..` could lead out then (openat2(2)).
const MOST_TRIES: usize = 128;

/// How a path is resolved below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolve {
    /// Fails at a symbolic link (ELOOP), at an absolute path, at a `..` that leads out, and at a mount (EXDEV).
    OneTree,
    /// Fails at a symbolic link (ELOOP), at an absolute path and at a `..` that leads out (EXDEV). Enters mounts.
    NoLinks,
    /// Takes the directory for `/`: an absolute path begins there, and `..` stops there. Fails at a symbolic link (ELOOP).
    /// Enters mounts.
    RootWithoutLinks,
    /// Takes the directory for `/`: an absolute path or symbolic link begins there, and `..` stops there. Enters mounts. Fails
    /// at a magic link of procfs, which could lead anywhere (ELOOP).
    Root,
    /// Resolves as [`Self::Root`], and fails at a mount (EXDEV).
    RootOfOneTree,
}

impl Resolve {
    const fn flags(self) -> ResolveFlags {
        let no_links = ResolveFlags::NO_SYMLINKS;
        let root = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
        match self {
            Self::OneTree => ResolveFlags::BENEATH.union(no_links).union(ResolveFlags::NO_XDEV),
            Self::NoLinks => ResolveFlags::BENEATH.union(no_links),
            Self::RootWithoutLinks => ResolveFlags::IN_ROOT.union(no_links),
            Self::Root => root,
            Self::RootOfOneTree => root.union(ResolveFlags::NO_XDEV),
        }
    }

    /// Opens `path` below the directory `top`, with O_CLOEXEC. `flags` has no O_CREAT: this creates nothing.
    ///
    /// # Errors
    /// The errors of openat2(2), with those that each variant of [`Resolve`] names.
    pub fn open(self, top: impl AsFd, path: impl Arg, flags: OFlags) -> Result<OwnedFd, Errno> {
        path.into_with_c_str(|path| {
            let open = || {
                let flags = flags | OFlags::CLOEXEC;
                rustix::fs::openat2(top.as_fd(), path, flags, Mode::empty(), self.flags())
            };
            let again = |opened: &Result<OwnedFd, Errno>| matches!(opened, Err(Errno::AGAIN));
            let opened =
                std::iter::repeat_with(open).take(MOST_TRIES).find(|opened| !again(opened));
            opened.unwrap_or(Err(Errno::AGAIN))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    /// The content of the file that the path leads to.
    fn led(how: Resolve, top: &File, path: &str) -> Result<String, Errno> {
        use std::io::Read;
        let mut text = String::new();
        let file = how.open(top, path, OFlags::RDONLY)?;
        File::from(file).read_to_string(&mut text).map_err(|_| Errno::ISDIR)?;
        Ok(text)
    }

    #[test]
    fn every_way_is_what_it_says() {
        let dir: PathBuf =
            std::env::temp_dir().join(format!("sharedroot-resolve-{}", std::process::id()));
        let root = dir.join("root");
        fs::create_dir_all(root.join("dir")).unwrap();
        fs::write(dir.join("secret"), "outside").unwrap();
        fs::write(root.join("secret"), "inside").unwrap();
        fs::write(root.join("dir/file"), "file").unwrap();
        symlink("/secret", root.join("absolute")).unwrap();
        symlink("../../../secret", root.join("dir/climbs")).unwrap();
        symlink("dir", root.join("link")).unwrap();
        symlink("/proc", root.join("proc")).unwrap();

        let top = File::open(&root).unwrap();
        let (inside, file) = (|| Ok("inside".to_owned()), || Ok("file".to_owned()));
        for (path, one_tree, no_links, without, in_root) in [
            ("dir/file", file(), file(), file(), file()),
            ("link/file", Err(Errno::LOOP), Err(Errno::LOOP), Err(Errno::LOOP), file()),
            ("/dir/file", Err(Errno::XDEV), Err(Errno::XDEV), file(), file()),
            ("../secret", Err(Errno::XDEV), Err(Errno::XDEV), inside(), inside()),
            ("absolute", Err(Errno::LOOP), Err(Errno::LOOP), Err(Errno::LOOP), inside()),
            ("dir/climbs", Err(Errno::LOOP), Err(Errno::LOOP), Err(Errno::LOOP), inside()),
            // The link leads to itself below the root.
            ("proc/x", Err(Errno::LOOP), Err(Errno::LOOP), Err(Errno::LOOP), Err(Errno::LOOP)),
        ] {
            assert_eq!(led(Resolve::OneTree, &top, path), one_tree, "{path}");
            assert_eq!(led(Resolve::NoLinks, &top, path), no_links, "{path}");
            assert_eq!(led(Resolve::RootWithoutLinks, &top, path), without, "{path}");
            assert_eq!(led(Resolve::Root, &top, path), in_root, "{path}");
            assert_eq!(led(Resolve::RootOfOneTree, &top, path), in_root, "{path}");
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn mounts_and_magic_links_are_told_apart() {
        let top = File::open("/").unwrap();
        let to = |how: Resolve, path: &str| how.open(&top, path, OFlags::PATH).map(drop);
        // procfs is a mount of its own.
        assert_eq!(to(Resolve::NoLinks, "proc/version"), Ok(()));
        assert_eq!(to(Resolve::RootWithoutLinks, "proc/version"), Ok(()));
        assert_eq!(to(Resolve::Root, "proc/version"), Ok(()));
        assert_eq!(to(Resolve::OneTree, "proc/version"), Err(Errno::XDEV));
        assert_eq!(to(Resolve::RootOfOneTree, "proc/version"), Err(Errno::XDEV));
        let pid = std::process::id();
        assert_eq!(to(Resolve::Root, &format!("proc/{pid}/exe")), Err(Errno::LOOP));
    }

    #[test]
    fn renames_elsewhere_on_the_host_make_no_path_fail() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("top/a")).unwrap();
        symlink("a/../".repeat(400), dir.path().join("top/link")).unwrap();
        fs::write(dir.path().join("one"), "").unwrap();
        let top = File::open(dir.path().join("top")).unwrap();
        let ended = AtomicBool::new(false);
        let opened = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (one, two) = (dir.path().join("one"), dir.path().join("two"));
                while !ended.load(Ordering::Relaxed) {
                    fs::rename(&one, &two).unwrap();
                    fs::rename(&two, &one).unwrap();
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
            let open = |_| Resolve::Root.open(&top, "link", OFlags::PATH).map(drop);
            let opened = (0..20_000).try_for_each(open);
            ended.store(true, Ordering::Relaxed);
            opened
        });
        assert_eq!(opened, Ok(()));
    }
}
