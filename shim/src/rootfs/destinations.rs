//! Where mounts and masks are made if a symbolic link of the image leads their path into another mount of the
//! container: `/etc/resolv.conf` leads to `/run/systemd/resolve/stub-resolv.conf`, and `/run` is a file system in
//! memory.

use std::fs::File;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use sharedroot_engine::Places;

use super::error::{RootError, file};
use super::landing::{Landings, is_plain};
use super::needs::is_bind;

/// Resolves a destination if a link of the root leads it into an earlier mount: the link's target is missing in that
/// mount, and the engine makes no file behind a link. Only volumes and file systems in memory are resolved; a mount in
/// the kernel's own file systems is not. `root` has the links that the container will have.
///
/// If the start wrote back the changes of an earlier start, `before` says where the mounts landed before that.
///
/// # Errors
/// [`RootError::File`]; [`RootError::Link`] for a destination that leads to `/dev` in a way that is not followed here;
/// [`RootError::LinkOfLastRun`] for a destination that did not lead there before.
pub fn lead_into_mounts(root: &Path, spec: &mut Spec, before: &[PathBuf]) -> Result<(), RootError> {
    let top = open(root)?;
    let landings = landings(&top, spec)?;
    for (at, landing) in landings.iter().enumerate() {
        if in_dev(&landing.place) && before.get(at).is_some_and(|before| !in_dev(before)) {
            let mount = &spec.mounts().as_deref().unwrap_or_default()[at];
            let (destination, lands) = (mount.destination().clone(), landing.place.clone());
            return Err(RootError::LinkOfLastRun { at, destination, lands });
        }
    }
    let mounts = Places::from_iter(landings.iter().map(|landing| &landing.place));
    lead_masks(&top, spec, &mounts)?;
    for (mount, landing) in spec.mounts_mut().iter_mut().flatten().zip(landings) {
        mount.set_destination(landing.destination);
    }
    Ok(())
}

/// Where the mounts of `spec` land in `root`, in order.
///
/// # Errors
/// The errors of [`lead_into_mounts`].
pub fn places(root: &Path, spec: &Spec) -> Result<Vec<PathBuf>, RootError> {
    Ok(landings(&open(root)?, spec)?.into_iter().map(|landing| landing.place).collect())
}

/// Where a mount lands.
struct Landing {
    place: PathBuf,
    /// The destination for the engine.
    destination: PathBuf,
    /// Whether files can be made in the mount.
    open: bool,
}

fn landings(top: &File, spec: &Spec) -> Result<Vec<Landing>, RootError> {
    let (resolver, mut places, none) = (Landings::below(top), Places::default(), Places::default());
    let mut landings = Vec::<Landing>::new();
    for mount in spec.mounts().iter().flatten() {
        let mut destination = mount.destination().clone();
        let over = |path: &Path| places.over(path).map(|at| &landings[at]);
        let plain = is_plain(&destination);
        let place = if plain && (over(&destination).is_some() || resolver.stands(&destination)) {
            destination.clone()
        } else if let Some(path) = resolver.behind_links(&destination, &places)? {
            if over(&path).is_some_and(|earlier| earlier.open) {
                destination.clone_from(&path);
            }
            path
        } else {
            resolver.led(&destination, &none)?.unwrap_or_else(|| destination.clone())
        };
        // The engine would make devices in this mount by path; the engine does not do so if `/dev` has its own name.
        if in_dev(&place) && !in_dev(&destination) {
            return Err(RootError::Link { path: destination });
        }
        let open = is_bind(mount) || mount.typ().as_deref() == Some("tmpfs");
        places.add(place.clone());
        landings.push(Landing { place, destination, open });
    }
    Ok(landings)
}

fn open(root: &Path) -> Result<File, RootError> {
    File::open(root).map_err(file("open", root))
}

fn in_dev(path: &Path) -> bool {
    path.starts_with("/dev")
}

/// Resolves a masked path if a link of the image leads to another file: the engine would mask the link, and the file
/// would stay visible by its own name.
fn lead_masks(top: &File, spec: &mut Spec, mounts: &Places) -> Result<(), RootError> {
    let Some(linux) = spec.linux_mut() else { return Ok(()) };
    let mut masked = linux.masked_paths().clone().unwrap_or_default();
    let resolver = Landings::below(top);
    for path in &mut masked {
        let given = Path::new(path);
        if mounts.over(given).is_some() || resolver.stands(given) {
            continue;
        }
        let place = match resolver.led(given, mounts)? {
            None => resolver.behind_links(given, mounts)?,
            place => place,
        };
        if let Some(place) = place.as_deref().and_then(Path::to_str) {
            *path = place.to_owned();
        }
    }
    if !masked.is_empty() {
        linux.set_masked_paths(Some(masked));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::create_dir_all;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_into_earlier_mounts_only() {
        let root = std::env::temp_dir().join(format!("sharedroot-lead-{}", std::process::id()));
        for dir in ["etc", "run/there", "var", "proc", "dev"] {
            create_dir_all(root.join(dir)).unwrap();
        }
        for (target, link) in [
            ("../run/a/b", "etc/conf"),
            ("/run/lock", "var/lock"),
            ("/run", "var/run"),
            ("/run/x/../../etc/up", "etc/climbs"),
            ("/proc/self/root/etc", "etc/magic"),
            ("/dev/../dev", "etc/to-dev"),
            ("/nowhere", "etc/dangling"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let lead = |list: &[&str]| {
            let mount = |at: &&str| match at.strip_prefix("proc:") {
                Some(at) => serde_json::json!({"destination": at, "type": "proc"}),
                None => serde_json::json!({"destination": at, "type": "tmpfs"}),
            };
            let mounts = list.iter().map(mount).collect::<Vec<_>>();
            let spec = serde_json::json!({"ociVersion": "1.2.0", "mounts": mounts});
            let mut spec = serde_json::from_value(spec).unwrap();
            if let Err(error) = lead_into_mounts(&root, &mut spec, &[]) {
                return error.to_string();
            }
            let mounts = spec.mounts().as_deref().unwrap_or_default();
            let last = mounts.last().unwrap().destination();
            last.to_str().unwrap().to_owned()
        };
        for (list, wanted) in [
            (&["/run", "/etc/conf"][..], "/run/a/b"),
            (&["/run", "/var/lock/l"], "/run/lock/l"),
            (&["/run", "/var/run/new"], "/run/new"),
            (&["/var/run", "/var/lock"], "/run/lock"),
            (&["/var/lock", "/run/lock/below"], "/run/lock/below"),
            // No earlier mount is on the path, so the mount point is made in the root.
            (&["/etc/conf"], "/etc/conf"),
            (&["/etc/conf", "/run"], "/run"),
            (&["/srv", "/etc/dangling"], "/etc/dangling"),
            // The engine handles a path that leads out of the mount again. No path is led into the kernel's own file systems.
            (&["/run", "/etc/climbs"], "/etc/climbs"),
            (&["proc:/proc", "/etc/magic"], "/etc/magic"),
        ] {
            assert_eq!(lead(list), wanted, "{list:?}");
        }
        let spec = serde_json::json!({"ociVersion": "1.2.0", "mounts": [{"destination": "/run", "type": "tmpfs"}],
            "linux": {"maskedPaths": ["/etc/climbs", "/etc/conf", "/var/run", "/etc", "/run/x", "/no/such"]}});
        let mut spec: Spec = serde_json::from_value(spec).unwrap();
        lead_into_mounts(&root, &mut spec, &[]).unwrap();
        let masked = spec.linux().as_ref().unwrap().masked_paths().as_deref().unwrap();
        assert_eq!(masked, ["/etc/climbs", "/run/a/b", "/run", "/etc", "/run/x", "/no/such"]);
        assert!(lead(&["/dev", "/etc/to-dev"]).contains("/etc/to-dev is a symbolic link"));
        assert!(lead(&["/dev", "/etc/to-dev/below"]).contains("symbolic link"));
        std::fs::remove_dir_all(root).unwrap();
    }
}
