//! The seccomp filter of a first process that may gain privileges.
//!
//! Loading it needs CAP_SYS_ADMIN (seccomp(2), without no_new_privs), so the engine loads it before it takes the
//! capabilities away, and goes on under it: a filter that forbids what the engine does then, such as getcwd(2), forbids
//! the container. Here the process keeps the two capabilities until the engine is done, loads the filter, and gives them
//! back, all of it before it waits for `start`.

use caps::{CapSet, Capability};
use libcontainer::capabilities::CapabilityExt;
use libcontainer::seccomp::initialize_seccomp;
use oci_spec::runtime::{Capability as SpecCapability, LinuxSeccomp, Process, Spec};

use super::exec::grant;
use super::workload::LATE_CAPABILITIES;

/// A filter that is still to be loaded, and the capabilities that go with it.
#[derive(Debug, Clone)]
pub struct Late {
    filter: Box<LinuxSeccomp>,
    /// What the process has for it and the configuration does not give.
    lent: Vec<(CapSet, Capability)>,
}

impl Late {
    /// Takes the filter out of the engine's hands; `None` where the engine loads it last by itself, under no_new_privs, and
    /// where an agent must be told of it.
    #[must_use]
    pub fn take(spec: &mut Spec) -> Option<Self> {
        let process = spec.process().as_ref()?;
        if process.no_new_privileges() == Some(true) {
            return None;
        }
        let filter = spec.linux().as_ref()?.seccomp().clone()?;
        if filter.listener_path().is_some() {
            return None;
        }
        spec.linux_mut().as_mut()?.set_seccomp(None);
        let lent = lend(spec.process_mut().as_mut()?);
        Some(Self { filter: Box::new(filter), lent })
    }

    /// Loads the filter and gives back what was lent for it.
    ///
    /// # Errors
    /// What failed; the process must end then.
    pub fn load(&self) -> Result<(), String> {
        match initialize_seccomp(&self.filter) {
            Ok(None) => {}
            Ok(Some(_)) => return Err("linux.seccomp: there is no agent to tell of it".into()),
            Err(e) => return Err(format!("load the seccomp filter: {e}")),
        }
        self.lent.iter().try_for_each(|(set, capability)| {
            caps::drop(None, *set, *capability)
                .map_err(|e| format!("drop {capability} from the {set:?} set: {e}"))
        })
    }
}

/// Adds the capabilities that loading a filter needs; returns those that were not there, in the order in which they must go:
/// CAP_SETPCAP has to be effective while the bounding set shrinks.
fn lend(process: &mut Process) -> Vec<(CapSet, Capability)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(process: &str, seccomp: &str) -> Spec {
        let text = format!(
            r#"{{"ociVersion":"1.2.0","process":{{"cwd":"/","args":["x"],"user":{{"uid":0,"gid":0}},
                "capabilities":{{"bounding":["CAP_SETPCAP","CAP_KILL"],"effective":[],
                "permitted":["CAP_KILL"]}}{process}}},"linux":{{"seccomp":{seccomp}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_lent_goes_back() {
        let mut spec = spec("", r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
        let late = Late::take(&mut spec).unwrap();
        assert!(spec.linux().as_ref().unwrap().seccomp().is_none());
        let [admin, setpcap] = LATE_CAPABILITIES;
        let lent = [
            (CapSet::Bounding, admin),
            (CapSet::Effective, admin),
            (CapSet::Effective, setpcap),
            (CapSet::Permitted, admin),
            (CapSet::Permitted, setpcap),
        ];
        assert_eq!(format!("{:?}", late.lent), format!("{lent:?}"));
        let sets = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
        assert_eq!(sets.bounding().as_ref().map(|set| set.len()), Some(3));
    }

    #[test]
    fn the_engine_loads_what_it_can_load_last() {
        let filter = r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;
        let mut last = spec(r#","noNewPrivileges":true"#, filter);
        assert!(Late::take(&mut last).is_none());
        assert!(last.linux().as_ref().unwrap().seccomp().is_some());
        let agent = r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/agent"}"#;
        assert!(Late::take(&mut spec("", agent)).is_none());
    }
}
