//! If a container has a cgroup namespace of its own, its user may make cgroups below the container's cgroup.

use oci_spec::runtime::{LinuxNamespaceType, Mount, Process, Spec};

use super::stats;
use crate::spec::id_mappings::host_uid;
use crate::{Embedded, EngineError};

impl Embedded {
    /// Gives the cgroup of process `pid` to the user of `process`, if the container has a cgroup namespace of its own
    /// and may write to the cgroup (runtime-spec, config-linux.md, "Cgroup ownership"). That user may then make cgroups
    /// below, but not raise the limits.
    pub(crate) fn hand_over_cgroup(
        &self,
        pid: i32,
        spec: &Spec,
        process: &Process,
    ) -> Result<(), EngineError> {
        let owner = host_uid(spec, process.user().uid()).filter(|uid| *uid != 0);
        let (Some(uid), Some(dir)) = (owner.filter(|_| has_own_cgroups(spec)), stats::unified(pid))
        else {
            return Ok(());
        };
        let delegated = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
        let files = delegated.unwrap_or_else(|_| DELEGATED.to_owned());
        let paths = files.lines().map(|file| dir.join(file)).filter(|file| file.exists());
        paths.chain([dir.clone()]).try_for_each(|path| {
            std::os::unix::fs::lchown(&path, Some(uid), None).map_err(|e| {
                let source = format!("give {} to user {uid}: {e}", path.display()).into();
                EngineError::Cgroup { verb: "create", id: self.id().clone(), source }
            })
        })
    }
}

/// The files that are given to the user on a kernel without the list (Documentation/admin-guide/cgroup-v2.rst, "Model
/// of Delegation").
const DELEGATED: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

/// Whether the container has a new cgroup namespace, and a writable mount of it.
fn has_own_cgroups(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref());
    let own = namespaces.unwrap_or_default().iter().any(|namespace| {
        namespace.typ() == LinuxNamespaceType::Cgroup && namespace.path().is_none()
    });
    let writable = |mount: &Mount| {
        let cgroups = mount.typ().as_deref().is_some_and(|t| matches!(t, "cgroup" | "cgroup2"));
        cgroups && !mount.options().iter().flatten().any(|option| option == "ro")
    };
    own && spec.mounts().iter().flatten().any(writable)
}
