//! The process of `exec`, confined as the container's init process is.
//!
//! libcontainer gives a process of `exec` no seccomp filter, and, if the process file has no capabilities, all of
//! root's capabilities. Both are corrected here: the capabilities are completed from the container's configuration, and
//! the workload loads the filter right before execve.

use std::path::Path;

use libcontainer::capabilities::CapabilityExt;
use oci_spec::runtime::{
    Capabilities, Capability as SpecCapability, LinuxNamespaceType, Process, Spec,
};
use sharedroot_format::ContainerId;
use sharedroot_label::{self as label, LabelError, ProcessLabel};

use crate::EngineError;
use crate::process::child_setup::late_limit;
use crate::process::executor::Workload;
use crate::seccomp::lent::{grant, lend_to_exec};
use crate::seccomp::program::Program;
use crate::spec::capabilities;
use crate::spec::error::SpecError;
use crate::spec::process::{normalise_process, refuse_no_apparmor, refuse_no_user};
use crate::spec::validate::forbidden;

/// What the caller of `exec` asked for.
#[derive(Debug)]
pub struct Tenant {
    /// The process, completed from the container's configuration.
    pub(super) process: Process,
    pub(super) workload: Workload,
}

/// Parses the text of a process in OCI's form.
///
/// # Errors
/// [`EngineError::Process`] of the container `id`, with the path of the file; [`EngineError::Forbidden`].
pub fn parse_process(id: &ContainerId, path: &Path, text: &[u8]) -> Result<Process, EngineError> {
    let process = capabilities::parse(text, "/capabilities").map_err(|e| EngineError::Process {
        id: id.clone(),
        what: format!("{} is not a process: {e}", path.display()),
    })?;
    forbidden::look_for_nul(text, "process.", &process)?;
    Ok(process)
}

impl Tenant {
    /// Completes `process` from the container's own configuration.
    ///
    /// # Errors
    /// [`EngineError::Forbidden`] or [`EngineError::Limit`], naming the field.
    pub fn new(spec: &Spec, process: Process) -> Result<Self, EngineError> {
        forbidden::look_at_process("process.", &process)?;
        Ok(Self::complete(spec, process)?)
    }

    fn complete(spec: &Spec, mut process: Process) -> Result<Self, SpecError> {
        refuse_no_user(&process)?;
        refuse_no_apparmor(&process)?;
        refuse_user_namespace(spec)?;
        check(spec, &process)?;
        if let Some(init) = spec.process() {
            inherit(&mut process, init);
        }
        let init = spec.process().as_ref();
        normalise_process(&mut process);
        let given = process.selinux_label().clone().filter(|l| !l.is_empty());
        let inherited = init.and_then(|p| p.selinux_label().clone()).filter(|l| !l.is_empty());
        let label = match given.or(inherited) {
            Some(text) if !label::enabled() => {
                let field = "process.selinuxLabel";
                return Err(LabelError::Disabled { field, label: text }.into());
            }
            text => text.as_deref().map(ProcessLabel::parse).transpose()?,
        };
        let filter = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        let filter = filter.map(Program::of).transpose()?;
        let lent = match filter {
            Some(_) if process.no_new_privileges() != Some(true) => lend_to_exec(&mut process),
            _ => Vec::new(),
        };
        let mut workload = Workload::new(label, filter, lent);
        workload.limit = late_limit(&mut process);
        Ok(Self { process, workload })
    }

    /// Whether the process wants a terminal.
    #[must_use]
    pub fn wants_terminal(&self) -> bool {
        self.process.terminal().unwrap_or(false)
    }
}

/// The engine joins every namespace of the container except the user namespace, so the process would be root of the
/// host.
fn refuse_user_namespace(spec: &Spec) -> Result<(), SpecError> {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref());
    let user = namespaces
        .unwrap_or_default()
        .iter()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::User);
    if !user {
        return Ok(());
    }
    Err(SpecError::Unsupported {
        field: "linux.namespaces".to_owned(),
        value: "exec in a container with a user namespace".to_owned(),
        remedy: "use runc or crun for it",
    })
}

/// Refuses, naming the field, a process that could not be started, as runc does.
fn check(spec: &Spec, process: &Process) -> Result<(), SpecError> {
    let refuse = |field: &str, value: String, remedy| {
        Err(SpecError::Unsupported { field: field.to_owned(), value, remedy })
    };
    if process.args().as_ref().is_none_or(|args| args.is_empty()) {
        return refuse("process.args", "no program".to_owned(), "give one");
    }
    if !process.cwd().is_absolute() {
        let cwd = process.cwd().display().to_string();
        return refuse("process.cwd", format!("{cwd:?}"), "give an absolute path");
    }
    let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    if let Some(listener) = seccomp.and_then(|seccomp| seccomp.listener_path().as_ref()) {
        let listener = format!("{:?} in exec", listener.display().to_string());
        let remedy = "exec without it would be confined otherwise than the container; use runc \
                      or crun for a container with a seccomp agent";
        return refuse("linux.seccomp.listenerPath", listener, remedy);
    }
    Ok(())
}

/// Sets the fields that `process` leaves out from the container's configuration.
fn inherit(process: &mut Process, init: &Process) {
    if process.capabilities().is_none() {
        process.set_capabilities(init.capabilities().clone());
    }
    if init.no_new_privileges() == Some(true) {
        process.set_no_new_privileges(Some(true));
    }
    if process.apparmor_profile().is_none() {
        process.set_apparmor_profile(init.apparmor_profile().clone());
    }
    if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
        process.set_rlimits(init.rlimits().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(init.oom_score_adj());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*init.io_priority());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(init.scheduler().clone());
    }
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(init.exec_cpu_affinity().clone());
    }
    if process.user().umask().is_none() {
        let mut user = process.user().clone();
        user.set_umask(init.user().umask());
        process.set_user(user);
    }
}

/// Adds capabilities by name to those that a process may use, as `exec --cap` asks.
///
/// # Errors
/// The first name that is not a capability.
pub fn add_capabilities(process: &mut Process, names: &[String]) -> Result<(), String> {
    if names.is_empty() {
        return Ok(());
    }
    let more = names
        .iter()
        .map(|name| name.parse().map(SpecCapability::from_cap).map_err(|_| name.clone()))
        .collect::<Result<Capabilities, _>>()?;
    grant(process, &more);
    Ok(())
}

#[cfg(any(test, feature = "fuzz"))]
#[path = "tenant_fuzz.rs"]
mod fuzz;
#[cfg(any(test, feature = "fuzz"))]
pub use fuzz::process;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::lent::LATE_CAPABILITIES;

    fn spec(extra: &str) -> Spec {
        serde_json::from_str(&format!(
            r#"{{"ociVersion":"1.2.0","process":{{"cwd":"/","args":["x"],"user":{{"uid":0,"gid":0}},
               "capabilities":{{"bounding":["CAP_KILL"],"effective":["CAP_KILL"],
               "permitted":["CAP_KILL"]}}{extra}}},
               "linux":{{"seccomp":{{"defaultAction":"SCMP_ACT_ALLOW"}}}}}}"#
        ))
        .unwrap()
    }

    fn process() -> Process {
        serde_json::from_str(r#"{"cwd":"/","args":["y"],"user":{"uid":0,"gid":0}}"#).unwrap()
    }

    #[test]
    fn exec_gets_the_containers_filter_and_capabilities() {
        let tenant = Tenant::new(&spec(""), process()).unwrap();
        assert!(tenant.workload.filter.is_some());
        assert_eq!(tenant.workload.lent, LATE_CAPABILITIES);
        let caps = tenant.process.capabilities().as_ref().unwrap();
        assert_eq!(caps.bounding().as_ref().unwrap().len(), 3, "CAP_KILL and the two lent");
        assert!(caps.inheritable().as_ref().unwrap().is_empty());
        assert!(caps.ambient().as_ref().unwrap().is_empty());
    }

    #[test]
    fn what_a_process_leaves_out_is_the_containers() {
        let extra = r#","oomScoreAdj":77,"rlimits":[{"type":"RLIMIT_NOFILE","hard":900,"soft":800}],
            "ioPriority":{"class":"IOPRIO_CLASS_IDLE","priority":0},
            "scheduler":{"policy":"SCHED_BATCH"},"execCPUAffinity":{"initial":"0","final":"0"}"#;
        let tenant = Tenant::new(&spec(extra), process()).unwrap();
        let (got, init) = (tenant.process, spec(extra).process().clone().unwrap());
        assert_eq!(got.oom_score_adj(), Some(77));
        assert_eq!(got.rlimits(), init.rlimits());
        assert_eq!(got.io_priority(), init.io_priority());
        assert_eq!(got.scheduler(), init.scheduler());
        assert_eq!(got.exec_cpu_affinity(), init.exec_cpu_affinity());
        let profile = r#","apparmorProfile":"the-containers""#;
        let confined = Tenant::new(&spec(profile), process()).unwrap().process;
        assert_eq!(confined.apparmor_profile().as_deref(), Some("the-containers"));
        let mut own = process();
        own.set_oom_score_adj(Some(5));
        assert_eq!(Tenant::new(&spec(extra), own).unwrap().process.oom_score_adj(), Some(5));
    }

    #[test]
    fn a_small_limit_of_open_files_comes_last() {
        let files = |soft: u64| {
            let text =
                format!(r#","rlimits":[{{"type":"RLIMIT_NOFILE","hard":900,"soft":{soft}}}]"#);
            let tenant = Tenant::new(&spec(&text), process()).unwrap();
            let now = tenant.process.rlimits().as_ref().unwrap()[0];
            (now.soft(), now.hard(), tenant.workload.limit.map(|last| (last.soft(), last.hard())))
        };
        assert_eq!(files(8), (64, 900, Some((8, 900))));
        assert_eq!(files(64), (64, 900, None));
    }

    #[test]
    fn what_cannot_be_started_is_refused_by_field() {
        let refused = |spec: &Spec, text: &str| {
            let process = serde_json::from_str(text).unwrap();
            Tenant::new(spec, process).unwrap_err().to_string()
        };
        let user = r#""user":{"uid":0,"gid":0}"#;
        let said = refused(&spec(""), &format!(r#"{{"cwd":"/",{user}}}"#));
        assert!(said.starts_with("process.args"), "{said}");
        let said = refused(&spec(""), &format!(r#"{{"cwd":"etc","args":["x"],{user}}}"#));
        assert!(said.starts_with("process.cwd: \"etc\""), "{said}");
    }

    #[test]
    fn no_new_privileges_is_inherited_and_needs_no_loan() {
        let tenant = Tenant::new(&spec(r#","noNewPrivileges":true"#), process()).unwrap();
        assert_eq!(tenant.process.no_new_privileges(), Some(true));
        assert!(tenant.workload.lent.is_empty());
        let caps = tenant.process.capabilities().as_ref().unwrap();
        assert_eq!(caps.bounding().as_ref().unwrap().len(), 1);
    }

    #[test]
    fn no_exec_beside_a_user_namespace() {
        let mut spec = spec("");
        let with = r#"{"namespaces":[{"type":"pid"},{"type":"user"}]}"#;
        spec.set_linux(Some(serde_json::from_str(with).unwrap()));
        let refused = Tenant::new(&spec, process()).unwrap_err().to_string();
        assert!(refused.contains("user namespace"), "{refused}");
    }
}
