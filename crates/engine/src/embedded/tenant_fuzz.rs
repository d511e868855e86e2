//! The process of `exec`, in containers with different filters and capabilities.

use sharedroot_format::json;
use sharedroot_seeds::says_something;

use super::*;
use crate::seccomp::lent::LATE_CAPABILITIES;

/// The text of `exec --process`.
///
/// # Panics
/// If a promise is broken.
pub fn process(text: &[u8]) {
    let process: Process = match json::parse(text) {
        Ok(process) => process,
        Err(error) => return says_something(&error),
    };
    for (seccomp, no_new_privileges) in [(true, true), (true, false), (false, true), (false, false)]
    {
        let spec = container(seccomp, no_new_privileges);
        match Tenant::new(&spec, process.clone()) {
            Ok(tenant) => is_confined(&tenant, &spec, &process),
            Err(error) => says_something(&error),
        }
    }
}

/// Checks that the process has the container's filter and its no_new_privs, and no capability that nobody asked for.
fn is_confined(tenant: &Tenant, spec: &Spec, asked: &Process) {
    let wanted = |spec: &Spec| spec.linux().as_ref().is_some_and(|linux| linux.seccomp().is_some());
    assert_eq!(tenant.workload.filter.is_some(), wanted(spec), "the filter");
    let init = spec.process().as_ref().expect("the container's process");
    let inherited = init.no_new_privileges() == Some(true);
    let is = tenant.process.no_new_privileges();
    assert_eq!(is == Some(true), inherited || asked.no_new_privileges() == Some(true));
    assert_ne!(is, Some(false), "the engine takes it for true");

    let allowed = asked.capabilities().as_ref().or(init.capabilities().as_ref());
    let given = tenant.process.capabilities().as_ref().expect("sets, if empty ones");
    type Set = fn(&oci_spec::runtime::LinuxCapabilities) -> &Option<Capabilities>;
    let sets: [Set; 5] = [
        |sets| sets.bounding(),
        |sets| sets.effective(),
        |sets| sets.permitted(),
        |sets| sets.inheritable(),
        |sets| sets.ambient(),
    ];
    for set in sets {
        let allowed = allowed.and_then(|sets| set(sets).clone()).unwrap_or_default();
        let given = set(given).clone().expect("a set, if an empty one");
        for more in given.difference(&allowed) {
            assert!(LATE_CAPABILITIES.contains(&more.to_cap()), "{more} was not asked for");
            assert!(tenant.workload.filter.is_some(), "{more} was lent for nothing");
        }
    }
    let bounding = allowed.and_then(|sets| sets.bounding().clone()).unwrap_or_default();
    for lent in &tenant.workload.lent {
        assert!(
            !bounding.contains(&SpecCapability::from_cap(*lent)),
            "{lent} is the process's own"
        );
    }
    let text = serde_json::to_vec(&tenant.process).expect("a process can be written");
    assert_eq!(json::parse::<Process>(&text).expect("what we wrote"), tenant.process);
}

fn container(seccomp: bool, no_new_privileges: bool) -> Spec {
    let mut spec = serde_json::json!({
        "ociVersion": "1.2.0",
        "process": {
            "cwd": "/", "args": ["x"], "user": { "uid": 0, "gid": 0 },
            "noNewPrivileges": no_new_privileges,
            "capabilities": { "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"] },
        },
        "linux": {},
    });
    if seccomp {
        spec["linux"]["seccomp"] = serde_json::json!({ "defaultAction": "SCMP_ACT_ALLOW" });
    }
    serde_json::from_value(spec).expect("a configuration")
}
