//! What a configuration needs to find in its root: mount points, and a directory to start in.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use rustix::fs::FileType;

use super::RootfsError;

/// The directory the process starts in, if that is in the root and not in a mount.
fn start_directory(spec: &Spec) -> Option<PathBuf> {
    let cwd = spec.process().as_ref()?.cwd().clone();
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let in_a_mount = mounts.iter().any(|mount| cwd.starts_with(mount.destination()));
    (!in_a_mount).then_some(cwd)
}

/// What must exist in a root that nobody can write: mount points that are not below another
/// mount, and the directory the process starts in.
#[must_use]
pub fn mount_points(spec: &Spec) -> Vec<PathBuf> {
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let mounted: Vec<_> = mounts.iter().map(|mount| mount.destination()).collect();
    let outermost =
        |path: &&&PathBuf| !mounted.iter().any(|other| path != &other && path.starts_with(other));
    mounted
        .iter()
        .filter(outermost)
        .map(|path| (*path).clone())
        .chain(start_directory(spec))
        .collect()
}

/// Makes the directory that the process starts in, as runc does; the engine only enters it.
///
/// # Errors
/// [`RootfsError::File`].
pub fn make_start_directory(root: &Path, spec: &Spec) -> Result<(), RootfsError> {
    let Some(cwd) = start_directory(spec) else { return Ok(()) };
    let fail = |source| RootfsError::File { step: "make process.cwd", path: cwd.clone(), source };
    let opened = pathrs::Root::open(root).map_err(|e| fail(std::io::Error::other(e)))?;
    if let Ok(found) = opened.resolve(&cwd) {
        let kind = rustix::fs::fstat(&found).map(|stat| FileType::from_raw_mode(stat.st_mode));
        return match kind.map_err(|e| fail(e.into()))? {
            FileType::Directory => Ok(()),
            _ => Err(fail(ErrorKind::NotADirectory.into())),
        };
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    opened.mkdir_all(&cwd, &mode).map(drop).map_err(|e| fail(std::io::Error::other(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_those_that_the_root_must_have() {
        let spec: Spec = serde_json::from_str(
            r#"{"ociVersion":"1.2.0","process":{"cwd":"/work","args":["x"],
                "user":{"uid":0,"gid":0}},"mounts":[
                {"destination":"/proc"},{"destination":"/dev"},{"destination":"/dev/shm"},
                {"destination":"/data/a"}]}"#,
        )
        .unwrap();
        let wanted: Vec<PathBuf> =
            ["/proc", "/dev", "/data/a", "/work"].into_iter().map(Into::into).collect();
        assert_eq!(mount_points(&spec), wanted);
    }
}
