//! The seccomp filter of an init process, which sharedroot loads and not the engine: a filter that the engine loads
//! does not return ENOSYS for unknown calls ([`super::program`]), and has the two values of SCMP_CMP_MASKED_EQ
//! exchanged.
//!
//! Without no_new_privs, loading needs CAP_SYS_ADMIN (seccomp(2)). So the engine loads the filter before it drops the
//! capabilities, and goes on under the filter: if the filter forbids a later call of the engine's, such as getcwd(2),
//! the container cannot start. Here the process keeps two capabilities until the engine is done, loads the filter, and
//! drops them, all before it waits for `start`.

use caps::{CapSet, Capability};
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator, Spec,
};

use super::lent::lend_to_first;
use super::program::{Program, SeccompError};

/// A filter that will be loaded late, and the capabilities that are dropped after that.
#[derive(Debug, Clone)]
pub struct Late {
    filter: Program,
    /// The capabilities that the process has for loading, and that the configuration does not give.
    lent: Vec<(CapSet, Capability)>,
}

impl Late {
    /// Takes the filter out of the engine's configuration. `None` if an agent must be notified, which the engine does.
    ///
    /// # Errors
    /// [`SeccompError`].
    pub fn take(spec: &mut Spec) -> Result<Option<Self>, SeccompError> {
        let (Some(process), Some(linux)) = (spec.process().clone(), spec.linux().clone()) else {
            return Ok(None);
        };
        let Some(filter) = linux.seccomp().clone() else { return Ok(None) };
        let agent = filter.listener_path().is_some();
        let engines = agent.then(|| in_the_engines_order(filter.clone()));
        let mut linux = linux;
        linux.set_seccomp(engines);
        spec.set_linux(Some(linux));
        if agent {
            return Ok(None);
        }
        let mut process = process;
        let privileged = process.no_new_privileges() != Some(true);
        let lent = if privileged { lend_to_first(&mut process) } else { Vec::new() };
        spec.set_process(Some(process));
        Ok(Some(Self { filter: Program::of(&filter)?, lent }))
    }

    /// Loads the filter, and drops the capabilities that were lent for it.
    ///
    /// # Errors
    /// The step that failed; then the caller must end the process.
    pub fn load(&self) -> Result<(), String> {
        self.filter.load()?;
        self.lent.iter().try_for_each(|(set, capability)| {
            caps::drop(None, *set, *capability)
                .map_err(|e| format!("drop {capability} from the {set:?} set: {e}"))
        })
    }
}

/// The engine gives libseccomp the second value as the mask and compares with the first. runc, and Docker's profile,
/// have the mask first.
fn in_the_engines_order(mut filter: LinuxSeccomp) -> LinuxSeccomp {
    let swapped = |arg: &LinuxSeccompArg| {
        if arg.op() != LinuxSeccompOperator::ScmpCmpMaskedEq {
            return *arg;
        }
        let new = LinuxSeccompArgBuilder::default().index(arg.index()).op(arg.op());
        let new = new.value(arg.value_two().unwrap_or(0)).value_two(arg.value());
        new.build().expect("each field has a default")
    };
    let mut rules = filter.syscalls().clone();
    for rule in rules.iter_mut().flatten() {
        let args = rule.args().as_ref().map(|args| args.iter().map(swapped).collect());
        rule.set_args(args);
    }
    filter.set_syscalls(rules);
    filter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::lent::LATE_CAPABILITIES;

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
        let late = Late::take(&mut spec).unwrap().unwrap();
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
    fn nothing_is_lent_under_no_new_privs() {
        let filter = r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;
        let mut spec = spec(r#","noNewPrivileges":true"#, filter);
        assert!(Late::take(&mut spec).unwrap().unwrap().lent.is_empty());
        assert!(spec.linux().as_ref().unwrap().seccomp().is_none());
    }

    #[test]
    fn the_engine_tells_an_agent_and_gets_its_own_order() {
        let mut spec = spec(
            "",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/agent","syscalls":[
                {"names":["clone"],"action":"SCMP_ACT_NOTIFY","args":[
                 {"index":0,"value":255,"valueTwo":7,"op":"SCMP_CMP_MASKED_EQ"},
                 {"index":1,"value":3,"op":"SCMP_CMP_EQ"}]}]}"#,
        );
        assert!(Late::take(&mut spec).unwrap().is_none());
        let seccomp = spec.linux().as_ref().unwrap().seccomp().clone().unwrap();
        let args = seccomp.syscalls().as_ref().unwrap()[0].args().clone().unwrap();
        assert_eq!((args[0].value(), args[0].value_two()), (7, Some(255)));
        assert_eq!((args[1].value(), args[1].value_two()), (3, None));
    }
}
