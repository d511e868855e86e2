//! The limits of an init process in a user namespace.
//!
//! The engine sets limits from inside the user namespace, where no process may raise one (getrlimit(2),
//! CAP_SYS_RESOURCE in the initial user namespace), but podman gives every container limits above its own. So
//! sharedroot sets them from outside, while the process waits for `start`.

use oci_spec::runtime::{LinuxNamespaceType, PosixRlimitType, Spec};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::child_setup::late_limit;

/// Takes the limits of a container with a user namespace out of the engine's configuration.
pub fn take(engines: &mut Spec) {
    if has_user_namespace(engines)
        && let Some(process) = engines.process_mut()
    {
        process.set_rlimits(None);
    }
}

/// Sets the limits of `spec` for its process `pid`, which waits for `start`, if [`take`] took them.
///
/// # Errors
/// The limit, and prlimit(2)'s reason.
pub fn set(spec: &Spec, pid: i32) -> Result<(), String> {
    let Some(mut process) = spec.process().clone().filter(|_| has_user_namespace(spec)) else {
        return Ok(());
    };
    // This limit is lower, so the process sets it itself.
    let _late = late_limit(&mut process);
    process.rlimits().iter().flatten().try_for_each(|limit| {
        let finite = |value| (value != u64::MAX).then_some(value);
        let new = Rlimit { current: finite(limit.soft()), maximum: finite(limit.hard()) };
        prlimit(Pid::from_raw(pid), resource(limit.typ()), new)
            .map(drop)
            .map_err(|e| format!("process.rlimits: set {}: {e}", limit.typ()))
    })
}

/// Whether the container has a user namespace of its own, or joins one.
pub fn has_user_namespace(spec: &Spec) -> bool {
    let mut namespaces = spec.linux().iter().flat_map(|linux| linux.namespaces().iter().flatten());
    namespaces.any(|namespace| namespace.typ() == LinuxNamespaceType::User)
}

fn resource(typ: PosixRlimitType) -> Resource {
    match typ {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    }
}
