//! Capabilities that a process has until its seccomp filter is loaded, because loading needs them.

use caps::{CapSet, Capability};
use libcontainer::capabilities::CapabilityExt;
use oci_spec::runtime::{Capabilities, Capability as SpecCapability, Process};

/// The capabilities that a process keeps until its filter is loaded: loading needs CAP_SYS_ADMIN (seccomp(2), without
/// no_new_privs), and CAP_SETPCAP is needed to drop capabilities from the bounding set.
pub(crate) const LATE_CAPABILITIES: [Capability; 2] =
    [Capability::CAP_SYS_ADMIN, Capability::CAP_SETPCAP];

/// Adds the capabilities to the bounding, permitted and effective sets. The inheritable and ambient sets stay.
pub(crate) fn grant(process: &mut Process, more: &Capabilities) {
    let mut sets = process.capabilities().clone().unwrap_or_default();
    let add = |set: &Option<Capabilities>| {
        Some(set.iter().flatten().chain(more).copied().collect::<Capabilities>())
    };
    sets.set_bounding(add(sets.bounding()));
    sets.set_effective(add(sets.effective()));
    sets.set_permitted(add(sets.permitted()));
    process.set_capabilities(Some(sets));
}

/// Adds the capabilities that loading a filter needs. Returns those that the process did not have.
pub(crate) fn lend_to_exec(process: &mut Process) -> Vec<Capability> {
    let bounding = process.capabilities().as_ref().and_then(|sets| sets.bounding().clone());
    let bounding = bounding.unwrap_or_default();
    grant(process, &LATE_CAPABILITIES.into_iter().map(SpecCapability::from_cap).collect());
    LATE_CAPABILITIES
        .into_iter()
        .filter(|capability| !bounding.contains(&SpecCapability::from_cap(*capability)))
        .collect()
}

/// Adds the capabilities that loading a filter needs. Returns those that the process did not have, in the order in
/// which they must be dropped: CAP_SETPCAP must be effective while the bounding set shrinks.
pub(crate) fn lend_to_first(process: &mut Process) -> Vec<(CapSet, Capability)> {
    let given = process.capabilities().clone().unwrap_or_default();
    grant(process, &LATE_CAPABILITIES.into_iter().map(SpecCapability::from_cap).collect());
    let sets = [
        (CapSet::Bounding, given.bounding()),
        (CapSet::Effective, given.effective()),
        (CapSet::Permitted, given.permitted()),
    ];
    let missing = |(set, given): (CapSet, &Option<_>)| {
        let given: std::collections::HashSet<SpecCapability> = given.clone().unwrap_or_default();
        let lent =
            move |capability: &Capability| !given.contains(&SpecCapability::from_cap(*capability));
        LATE_CAPABILITIES.into_iter().filter(lent).map(move |capability| (set, capability))
    };
    sets.into_iter().flat_map(missing).collect()
}
