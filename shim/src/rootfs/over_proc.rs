//! Only procfs may be mounted at `/proc`.
//!
//! Another mount over `/proc` could hide a masked path, or receive what the runtime writes there (CVE-2019-16884,
//! CVE-2023-28642, CVE-2025-52881). The engine checks only mounts of the types proc and sysfs.

use std::fs::File;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};
use rustix::fs::PROC_SUPER_MAGIC;
use sharedroot_engine::Places;

use super::error::{RootError, file};
use super::landing::Landings;

/// The files of `/proc` that lxcfs and similar programs replace, as runc allows.
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

/// Refuses a mount that would cover `/proc` or a file in it, also by a symbolic link of the image.
///
/// `root` must be the container's root.
///
/// # Errors
/// [`RootError::OverProc`], [`RootError::File`].
pub fn refuse_over_proc(root: &Path, spec: &Spec) -> Result<(), RootError> {
    let top = File::open(root).map_err(file("open", root))?;
    let (landings, none) = (Landings::below(&top), Places::default());
    for (at, mount) in spec.mounts().iter().flatten().enumerate() {
        let destination = mount.destination();
        // This includes a link whose target is missing: the target may exist in the container, as the files of /proc do.
        let lands = landings.landing(destination, &none)?.unwrap_or_default();
        let fine = !lands.starts_with("/proc")
            || (lands == Path::new("/proc") && is_procfs(mount))
            || REPLACEABLE.iter().any(|path| lands == Path::new(path));
        if !fine {
            let destination = destination.clone();
            return Err(RootError::OverProc { at, destination, lands });
        }
    }
    Ok(())
}

/// Whether the mount is procfs, mounted newly or bound from the host.
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
            assert!(matches!(bind(at, "/tmp"), Err(RootError::OverProc { .. })), "{at}");
        }
        assert!(with(r#"{"destination":"/proc","type":"tmpfs","source":"tmpfs"}"#).is_err());
        std::fs::remove_dir_all(root).unwrap();
    }
}
