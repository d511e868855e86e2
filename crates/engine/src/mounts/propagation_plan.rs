//! The propagation of mounts between the host and a container (mount_namespaces(7)): computed as runc does it, and
//! expressed in the engine's configuration. This module computes only; [`BindMounts`](crate::BindMounts) acts.
//!
//! runc changes the propagation of the whole mount namespace (`linux.rootfsPropagation`, or rslave without that field),
//! makes each bind mount, and gives it the propagation among its own options. The engine has one propagation for all
//! mounts, and ignores those of bind mounts. So sharedroot binds volumes that need another propagation first, and the
//! engine binds sharedroot's mounts.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, Spec};
use sharedroot_sys::mount::Submounts;

use super::propagation::{Kind, Propagation, asked, bind};
use crate::spec::error::SpecError;

/// How the propagation of a container's mounts is set.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// The engine's `linux.rootfsPropagation`.
    pub root: &'static str,
    /// The bind mounts that sharedroot makes first. Empty if the engine's own bind mounts are right.
    pub volumes: Vec<Volume>,
    /// The propagation that the root mount gets after the container is made, if the engine sets another.
    pub then_root: Option<Kind>,
    /// Whether the volumes' changes must be repeated after the container is made.
    pub repeat: bool,
}

/// A bind mount whose propagation sharedroot sets.
#[derive(Debug, PartialEq, Eq)]
pub struct Volume {
    /// The index in `mounts`.
    pub index: usize,
    /// The changes, in order.
    pub steps: Vec<Propagation>,
}

impl Volume {
    /// Whether mounts that are made in the container's volume appear on the host.
    fn leads_out(&self) -> bool {
        self.steps.iter().all(|step| step.kind == Kind::Shared)
    }
}

/// A bind mount of the configuration.
struct Bind {
    /// The index in `mounts`.
    index: usize,
    submounts: Submounts,
    /// The propagations among its options.
    own: Vec<Propagation>,
}

/// Whether a volume of the container propagates mounts to the host. Then the process that makes the container must be
/// in the host's mount namespace.
#[must_use]
pub fn leads_out(spec: &Spec) -> bool {
    // If no plan can be made, the engine refuses the container.
    plan(spec).is_ok_and(|plan| plan.volumes.iter().any(Volume::leads_out))
}

/// Computes the plan of a configuration.
///
/// # Errors
/// [`SpecError`] naming the field.
pub fn plan(spec: &Spec) -> Result<Plan, SpecError> {
    let given = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    let root = match given.filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => match text.parse::<Propagation>() {
            Ok(Propagation { kind: Kind::Unbindable, recursive: true }) | Err(()) => {
                return Err(SpecError::Unsupported {
                    field: "linux.rootfsPropagation".to_owned(),
                    value: format!("{text:?}"),
                    remedy: "give private, rprivate, slave, rslave, shared, rshared or unbindable",
                });
            }
            Ok(root) => Some(root),
        },
    };
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let bind = |(index, mount)| Some(Bind { index, submounts: bind(mount)?, own: asked(mount) });
    let binds: Vec<_> = mounts.iter().enumerate().filter_map(bind).collect();
    if let Some(uniform) = uniform(root, mounts, &binds) {
        return Ok(Plan { root: uniform, volumes: Vec::new(), then_root: None, repeat: false });
    }
    let volumes: Vec<_> = binds
        .into_iter()
        .map(|Bind { index, own, .. }| {
            let inherited =
                if own.is_empty() { inherited_by_silent(root) } else { inherited(root) };
            Volume { index, steps: inherited.into_iter().chain(own).collect() }
        })
        .collect();
    let is_shared = volumes.iter().any(Volume::leads_out);
    let then_root = match root.map(|root| root.kind) {
        Some(Kind::Shared) => None,
        Some(kind) if is_shared => Some(kind),
        None if is_shared => Some(Kind::Slave),
        _ => None,
    };
    let more = |step: &Propagation| matches!(step.kind, Kind::Shared | Kind::Unbindable);
    let engine = match root.map(|root| root.kind) {
        Some(Kind::Shared) => "shared",
        _ if is_shared => "shared",
        Some(Kind::Unbindable) => "unbindable",
        _ => "slave",
    };
    let repeat = engine == "shared" || volumes.iter().flat_map(|volume| &volume.steps).any(more);
    Ok(Plan { root: engine, repeat, volumes, then_root })
}

/// The propagation of all mounts of the namespace before the container's mounts are made. A change that is not
/// recursive applies to `/` alone.
fn inherited(root: Option<Propagation>) -> Option<Propagation> {
    match root {
        None | Some(Propagation { kind: Kind::Unbindable, .. }) => Some(of_all(Kind::Slave)),
        Some(Propagation { kind: Kind::Shared, .. }) => None,
        Some(Propagation { kind, recursive }) => recursive.then(|| of_all(kind)),
    }
}

/// The propagation of a volume whose own options name none: no such volume propagates more than the root, even if the
/// root's change is not recursive.
fn inherited_by_silent(root: Option<Propagation>) -> Option<Propagation> {
    let roots = root.filter(|root| root.kind != Kind::Shared);
    inherited(root).or_else(|| roots.map(|root| of_all(root.kind)))
}

fn of_all(kind: Kind) -> Propagation {
    Propagation { kind, recursive: true }
}

/// The one propagation of the engine that is right for all bind mounts, if there is one.
fn uniform(root: Option<Propagation>, mounts: &[Mount], binds: &[Bind]) -> Option<&'static str> {
    let engine = match root {
        _ if !binds.is_empty() => None,
        None => Some("slave"),
        Some(Propagation { kind: Kind::Private, .. }) => Some("private"),
        Some(Propagation { kind: Kind::Slave, .. }) => Some("slave"),
        Some(Propagation { kind: Kind::Shared, .. }) => Some("shared"),
        Some(Propagation { kind: Kind::Unbindable, .. }) => Some("unbindable"),
    };
    let base = inherited(root).map(|root| root.kind);
    let (slave, private) = (Kind::Slave, Kind::Private);
    let only =
        |kinds: &[Kind], steps: &[Propagation]| steps.iter().all(|step| kinds.contains(&step.kind));
    // The host has no mounts below a file, so a file may have the propagation of the directories.
    let file = |index: usize| {
        mounts[index].source().as_ref().is_some_and(|source: &PathBuf| !Path::new(source).is_dir())
    };
    let private_by_itself = |bind: &Bind| {
        let reaches = |last: &Propagation| last.recursive || bind.submounts == Submounts::LeftOut;
        bind.own.last().is_some_and(|last| last.kind == private && reaches(last))
    };
    engine
        .or_else(|| {
            let all = binds.iter().all(|bind| only(&[private, slave], &bind.own));
            (base == Some(private) && all).then_some("private")
        })
        .or_else(|| {
            (base == Some(slave) && binds.iter().all(private_by_itself)).then_some("private")
        })
        .or_else(|| {
            let fits = |bind: &Bind| {
                only(&[slave], &bind.own) || (private_by_itself(bind) && file(bind.index))
            };
            (base == Some(slave) && binds.iter().all(fits)).then_some("slave")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plan of a container with this root propagation and these bind mounts of directories.
    fn planned(root: &str, options: &[&str]) -> Result<Plan, String> {
        let mounts: Vec<_> = options
            .iter()
            .map(|option| {
                serde_json::json!({"destination": "/d", "source": "/tmp",
                                   "options": ["rbind", option]})
            })
            .collect();
        let value = serde_json::json!({"ociVersion": "1.2.0", "mounts": mounts,
                                       "linux": {"rootfsPropagation": root}});
        plan(&serde_json::from_value(value).unwrap()).map_err(|e| e.to_string())
    }

    fn unprepared(root: &str, options: &[&str]) -> &'static str {
        let plan = planned(root, options).unwrap();
        assert!(plan.volumes.is_empty() && !plan.repeat, "{root} {options:?}: {plan:?}");
        plan.root
    }

    #[test]
    fn what_is_the_same_for_all_is_left_to_the_engine() {
        assert_eq!(unprepared("", &[]), "slave");
        assert_eq!(unprepared("shared", &[]), "shared");
        assert_eq!(unprepared("", &["ro"]), "slave");
        assert_eq!(unprepared("", &["rprivate", "rprivate"]), "private");
        assert_eq!(unprepared("rslave", &["rslave", "slave"]), "slave");
        assert_eq!(unprepared("rprivate", &["rslave", "ro"]), "private");
    }

    #[test]
    fn a_mix_is_prepared() {
        let plan = planned("rslave", &["rslave", "rprivate"]).unwrap();
        assert_eq!((plan.root, plan.volumes.len(), plan.repeat), ("slave", 2, false));
        let plan = planned("shared", &["rshared", "rprivate"]).unwrap();
        assert_eq!((plan.root, plan.volumes.len(), plan.repeat), ("shared", 2, true));
        assert_eq!(plan.volumes[0].steps, ["rshared".parse().unwrap()]);
        assert_eq!(plan.then_root, None);
        // Without a shared root, a volume becomes a slave of the host's mount before it becomes shared.
        let plan = planned("", &["rshared"]).unwrap();
        assert_eq!((plan.root, plan.repeat), ("slave", true));
        let steps = ["rslave".parse().unwrap(), "rshared".parse().unwrap()];
        assert_eq!(plan.volumes[0].steps, steps);
        // A shared root must not make a volume shared that is to be a slave only.
        let plan = planned("shared", &["rslave"]).unwrap();
        assert_eq!((plan.root, plan.repeat), ("shared", true));
        let plan = planned("private", &["rshared"]).unwrap();
        assert_eq!((plan.root, plan.then_root), ("shared", Some(Kind::Private)));
    }

    #[test]
    fn a_volume_leads_out_as_far_as_the_root_lets_it() {
        let leads = |root: &str, option: &str| {
            let value = serde_json::json!({"ociVersion": "1.2.0", "linux": {"rootfsPropagation": root},
                "mounts": [{"destination": "/d", "source": "/tmp", "options": ["rbind", option]}]});
            leads_out(&serde_json::from_value(value).unwrap())
        };
        for (root, option) in [("shared", "rshared"), ("rshared", "ro"), ("private", "shared")] {
            assert!(leads(root, option), "{root} {option}");
        }
        for (root, option) in
            [("", "rshared"), ("shared", "rslave"), ("shared", "rprivate"), ("", "ro")]
        {
            assert!(!leads(root, option), "{root} {option}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for wrong in ["sideways", "rr", "r", "runbindable"] {
            assert!(planned(wrong, &[]).unwrap_err().contains("linux.rootfsPropagation"));
        }
    }
}
