//! Nothing but procfs at `/proc`.
//!
//! What lies over it could hide a masked path or swallow what the runtime writes there (CVE-2019-16884,
//! CVE-2023-28642, CVE-2025-52881). The engine looks only at mounts of the types proc and sysfs.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, openat2};

use super::{RootfsError, file};

/// Files of `/proc` that lxcfs and its like stand in for, as runc allows.
const REPLACEABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Refuses a mount that would cover `/proc` or something in it, also by a link of the image.
///
/// `root` must be what the container gets.
///
/// # Errors
/// [`RootfsError::OverProc`], [`RootfsError::File`].
pub fn refuse_over_proc(root: &Path, spec: &Spec) -> Result<(), RootfsError> {
    let top = File::open(root).map_err(file("open", root))?;
    for (at, mount) in spec.mounts().iter().flatten().enumerate() {
        let lands = landing(&top, mount.destination());
        let fine = !lands.starts_with("/proc")
            || (lands == Path::new("/proc") && is_procfs(mount))
            || REPLACEABLE.iter().any(|path| lands == Path::new(path));
        if !fine {
            let destination = mount.destination().clone();
            return Err(RootfsError::OverProc { at, destination, lands });
        }
    }
    Ok(())
}

/// Where in the container a mount goes. A link counts also where its target is missing: in the container it may be
/// there, as everything of `/proc` is.
fn landing(top: &File, destination: &Path) -> PathBuf {
    // As in the kernel (path_resolution(7)); the engine fails then.
    const MOST_LINKS: usize = 40;
    let names = |path: &Path| path.components().rev().map(|c| c.as_os_str().to_owned()).collect();
    let (mut path, mut rest, mut links): (_, Vec<_>, _) = (PathBuf::new(), names(destination), 0);
    while let Some(name) = rest.pop() {
        match Path::new(&name).components().next() {
            Some(Component::ParentDir) => {
                path.pop();
            }
            Some(Component::Normal(_)) => {
                let next = path.join(&name);
                match link(top, &next).filter(|_| links < MOST_LINKS) {
                    Some(target) => {
                        links += 1;
                        if target.is_absolute() {
                            path.clear();
                        }
                        let more: Vec<_> = names(&target);
                        rest.extend(more);
                    }
                    None => path = next,
                }
            }
            _ => {}
        }
    }
    Path::new("/").join(path)
}

/// The target of the link at `path`, whose directory has no links in it.
fn link(top: &File, path: &Path) -> Option<PathBuf> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = openat2(top, path, flags, Mode::empty(), ResolveFlags::IN_ROOT).ok()?;
    let target = rustix::fs::readlinkat(open, "", Vec::new()).ok()?;
    Some(OsString::from_vec(target.into_bytes()).into())
}

/// Whether it is procfs, mounted anew or bound from the host.
fn is_procfs(mount: &Mount) -> bool {
    let bound = |source: &PathBuf| {
        let options = mount.options().as_deref().unwrap_or_default();
        options.iter().any(|option| option == "bind" || option == "rbind")
            && rustix::fs::statfs(source).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC)
    };
    mount.typ().as_deref() == Some("proc") || mount.source().as_ref().is_some_and(bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_procfs_lies_at_proc() {
        let root = std::env::temp_dir().join(format!("sharedroot-proc-{}", std::process::id()));
        std::fs::create_dir_all(root.join("proc")).unwrap();
        std::fs::create_dir_all(root.join("data")).unwrap();
        symlink("../../../proc", root.join("data/link")).unwrap();
        symlink("/proc", root.join("absolute")).unwrap();
        symlink("/proc/sys/kernel", root.join("dangling")).unwrap();
        symlink("dangling/..", root.join("chain")).unwrap();
        symlink("round", root.join("round")).unwrap();
        let with = |mount: &str| {
            let text = format!(r#"{{"ociVersion":"1.2.0","mounts":[{mount}]}}"#);
            refuse_over_proc(&root, &serde_json::from_str(&text).unwrap())
        };
        let bind = |at: &str, source: &str| {
            with(&format!(
                r#"{{"destination":"{at}","type":"bind","source":"{source}","options":["rbind"]}}"#
            ))
        };
        with(r#"{"destination":"/proc","type":"proc","source":"proc"}"#).unwrap();
        bind("/proc", "/proc").unwrap();
        bind("/proc/meminfo", "/tmp").unwrap();
        bind("/data/x", "/tmp").unwrap();
        bind("/process", "/tmp").unwrap();
        bind("/round/x", "/tmp").unwrap();
        for at in [
            "/proc",
            "/proc/",
            "proc",
            "/proc/self/attr",
            "/proc/sys/kernel/../kernel/x",
            "/data/../proc",
            "/none/../proc",
            "/data/link",
            "/data/link/self",
            "/absolute/1",
            "/dangling/domainname",
            "/chain",
        ] {
            assert!(matches!(bind(at, "/tmp"), Err(RootfsError::OverProc { .. })), "{at}");
        }
        assert!(with(r#"{"destination":"/proc","type":"tmpfs","source":"tmpfs"}"#).is_err());
        std::fs::remove_dir_all(root).unwrap();
    }
}
