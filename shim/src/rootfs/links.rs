//! Paths on which the engine would leave the root, because of a symbolic link of the image or of a volume.
//!
//! libcontainer places mounts by descriptor, but makes the links of `/dev` (and, on cgroup v1, those of the
//! controllers) by path. So if such a path can lead out of the root, the container is refused (CVE-2026-41579,
//! CVE-2026-47766). sharedroot itself makes devices in a volume (`engine/mounts/devices.rs`).

use std::fs::File;
use std::io;
use std::path::Path;

use oci_spec::runtime::Spec;
use rustix::fs::OFlags;
use rustix::io::Errno;
use sharedroot_sys::resolve::Resolve;

use super::error::{RootError, file};

/// Refuses a root in which the engine would follow a link on its path to `/dev` or to a cgroup mount.
///
/// `root` must be the container's root with all mounts over it.
///
/// # Errors
/// [`RootError::Link`], [`RootError::File`].
pub fn refuse_links(root: &Path, spec: &Spec) -> Result<(), RootError> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let top = File::open(root).map_err(file("open", root))?;
    let cgroups = mounts.iter().filter(|mount| mount.typ().as_deref() == Some("cgroup"));
    let by_path = cgroups.map(|mount| mount.destination().as_path());
    for path in by_path.chain([Path::new("/dev")]) {
        let below = path.strip_prefix("/").unwrap_or(path);
        match Resolve::NoLinks.open(&top, below, OFlags::PATH) {
            Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(Errno::LOOP) => return Err(RootError::Link { path: path.to_owned() }),
            Err(errno) => return Err(file("look up in the root:", path)(io::Error::from(errno))),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn spec(text: &str) -> Spec {
        serde_json::from_str(&format!(r#"{{"ociVersion":"1.2.0",{text}}}"#)).unwrap()
    }

    #[test]
    fn a_link_on_the_way_is_refused() {
        let root = std::env::temp_dir().join(format!("sharedroot-links-{}", std::process::id()));
        std::fs::create_dir_all(root.join("real/cgroup")).unwrap();
        symlink("real", root.join("sys")).unwrap();
        let plain = spec(r#""mounts":[]"#);
        let v1 = r#""mounts":[{"destination":"/sys/cgroup","type":"cgroup","source":"cgroup"}]"#;
        refuse_links(&root, &plain).unwrap();
        let refused = refuse_links(&root, &spec(v1)).unwrap_err().to_string();
        assert!(refused.contains("/sys/cgroup"), "{refused}");
        symlink("real", root.join("dev")).unwrap();
        let refused = refuse_links(&root, &plain).unwrap_err().to_string();
        assert!(refused.contains("/dev"), "{refused}");
        std::fs::remove_dir_all(root).unwrap();
    }
}
