//! Makes a configuration say what runc would do with it, in words that the embedded engine
//! understands, and refuses by field what it would silently leave out.

use std::path::{Component, Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};
use oci_spec::runtime::{
    Capabilities, LinuxCapabilities, Mount, PosixRlimitBuilder, PosixRlimitType, Process, Spec,
};
use sharedroot_label::{self as label, LabelError, MountLabel, ProcessLabel};

use super::error::SpecError;
use super::resources;
use crate::mounts::propagation;
use crate::spec::validate::unsupported;

/// File systems whose label is the policy's, as runc leaves it.
const LABELLED_BY_POLICY: [&str; 6] = ["proc", "sysfs", "mqueue", "cgroup", "cgroup2", "bind"];

/// The labels that a configuration asks for, checked against this host.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    /// `process.selinuxLabel`
    pub process: Option<ProcessLabel>,
    /// `linux.mountLabel`
    pub mount: Option<MountLabel>,
}

impl Labels {
    /// Reads both labels. An empty one stands for none, as with runc.
    ///
    /// # Errors
    /// [`LabelError`], also where SELinux is off: a label that nothing enforces is no label.
    pub fn of(spec: &Spec) -> Result<Self, LabelError> {
        let process = spec.process().as_ref().and_then(|p| p.selinux_label().as_deref());
        let mount = spec.linux().as_ref().and_then(|l| l.mount_label().as_deref());
        let (process, mount) = (process.filter(|l| !l.is_empty()), mount.filter(|l| !l.is_empty()));
        let on = label::enabled();
        for (field, label) in [("process.selinuxLabel", process), ("linux.mountLabel", mount)] {
            if let Some(label) = label.filter(|_| !on) {
                return Err(LabelError::Disabled { field, label: label.to_owned() });
            }
        }
        Ok(Self {
            process: process.map(ProcessLabel::parse).transpose()?,
            mount: mount.map(MountLabel::parse).transpose()?,
        })
    }

    /// After something failed: the first label that the loaded policy does not know, for the kernel says EINVAL and no more.
    #[must_use]
    pub fn unknown(&self) -> Option<LabelError> {
        let process = self.process.as_ref().and_then(|label| label.known().err());
        process.or_else(|| self.mount.as_ref().and_then(|label| label.known().err()))
    }
}

/// Rewrites `spec` for the embedded engine.
///
/// `bundle` is where relative sources of bind mounts start; `id` names the cgroup where the
/// configuration does not.
///
/// # Errors
/// [`SpecError`] naming the field.
pub fn normalise(
    spec: &mut Spec,
    bundle: &Path,
    id: &str,
    systemd_cgroup: bool,
) -> Result<Labels, SpecError> {
    let labels = Labels::of(spec)?;
    unsupported::check(spec)?;
    if let Some(process) = spec.process_mut() {
        refuse_no_user(process)?;
        refuse_no_apparmor(process)?;
        normalise_process(process);
        keep_locked_memory(process);
    }
    for mount in spec.mounts_mut().iter_mut().flatten() {
        normalise_mount(mount, bundle, labels.mount.as_ref());
    }
    if let Some(linux) = spec.linux_mut() {
        linux.set_resources(resources::of_container(linux.resources().clone())?);
        let given = linux.cgroups_path().as_deref().filter(|path| !path.as_os_str().is_empty());
        let path = match given {
            Some(path) if systemd_cgroup => {
                refuse_no_unit(path)?;
                path.to_owned()
            }
            Some(path) => below_the_top(path)?,
            None if systemd_cgroup => format!(":sharedroot:{id}").into(),
            None => format!("/{id}").into(),
        };
        linux.set_cgroups_path(Some(path));
        // The engine would put it on every mount, also where the kernel has one superblock for
        // all (mqueue, cgroup) and refuses a second context.
        linux.set_mount_label(None);
    }
    Ok(labels)
}

/// systemd's driver makes a unit of the path; the library would take a directory's path for the unit's name.
fn refuse_no_unit(path: &Path) -> Result<(), SpecError> {
    if path.to_string_lossy().split(':').count() == 3 {
        return Ok(());
    }
    Err(SpecError::Unsupported {
        field: "linux.cgroupsPath".to_owned(),
        value: format!("{path:?}"),
        remedy: "with systemd's cgroup driver it is SLICE:PREFIX:NAME",
    })
}

/// The path of a cgroup without `..`, which the engine would follow to any directory of the host; runc starts such a path at
/// the top, too. The top itself is everybody's.
fn below_the_top(path: &Path) -> Result<PathBuf, SpecError> {
    let mut plain = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => drop(plain.pop()),
            _ => {}
        }
    }
    if plain.parent().is_none() {
        return Err(SpecError::Unsupported {
            field: "linux.cgroupsPath".to_owned(),
            value: format!("{path:?}"),
            remedy: "name a cgroup below the top, which belongs to the host, or leave it out",
        });
    }
    Ok(plain)
}

/// The umask of a process that asks for none, as runc and crun have it.
const UMASK: u32 = 0o022;

/// Refuses the user and group IDs that stand for "no change" in setresuid(2), setresgid(2): the process would stay
/// root.
///
/// # Errors
/// [`SpecError::Unsupported`] naming the field.
pub fn refuse_no_user(process: &Process) -> Result<(), SpecError> {
    let user = process.user();
    let more = user.additional_gids().as_deref().unwrap_or_default();
    let ids = [("uid", user.uid()), ("gid", user.gid())].into_iter();
    let all = ids.chain(more.iter().map(|gid| ("additionalGids", *gid)));
    all.into_iter().find(|(_, id)| *id == u32::MAX).map_or(Ok(()), |(field, id)| {
        Err(SpecError::Unsupported {
            field: format!("process.user.{field}"),
            value: id.to_string(),
            remedy: "the kernel has no such user or group; give a smaller number",
        })
    })
}

/// Refuses an AppArmor profile on a host without AppArmor: the engine's write of it can succeed there, because another
/// security module takes the file for its own.
///
/// # Errors
/// [`SpecError::Unsupported`] naming the field.
pub fn refuse_no_apparmor(process: &Process) -> Result<(), SpecError> {
    let asked = process.apparmor_profile().as_deref().filter(|profile| !profile.is_empty());
    match asked {
        // As the engine looks; it does so in `create` only.
        Some(profile) if !libcontainer::apparmor::is_enabled().unwrap_or(false) => {
            Err(SpecError::Unsupported {
                field: "process.apparmorProfile".to_owned(),
                value: format!("{profile:?}"),
                remedy: "this host has no apparmor to enforce it; leave it out",
            })
        }
        _ => Ok(()),
    }
}

/// `HOME` of a process whose configuration gives none; the engine would look itself for an empty one. Who says this in a
/// configuration gets the same.
pub const UNKNOWN_HOME: &str = "HOME=sharedroot:of-the-user";

/// What a runtime takes for granted about a process.
pub fn normalise_process(process: &mut Process) {
    // The engine would ask getpwuid(3), in the container; the workload looks for itself.
    let mut env = process.env().clone().unwrap_or_default();
    env.retain(|variable| variable != "HOME=");
    if !env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(UNKNOWN_HOME.to_owned());
    }
    process.set_env(Some(env));
    // The engine takes "given" for "true" when it orders seccomp and capabilities.
    if process.no_new_privileges() == Some(false) {
        process.set_no_new_privileges(None);
    }
    // The engine would look for AppArmor; runc takes an empty name for none.
    if process.apparmor_profile().as_deref() == Some("") {
        process.set_apparmor_profile(None);
    }
    // The engine would leave it the caller's.
    if process.user().umask().is_none() {
        let mut user = process.user().clone();
        user.set_umask(Some(UMASK));
        process.set_user(user);
    }
    // runc gives a process without capabilities none; the engine would leave it all of root's.
    let mut caps = process.capabilities().clone().unwrap_or_else(|| {
        let mut none = LinuxCapabilities::default();
        none.set_bounding(None).set_effective(None).set_permitted(None);
        none.set_inheritable(None).set_ambient(None);
        none
    });
    let empty = |set: &Option<Capabilities>| Some(set.clone().unwrap_or_default());
    caps.set_bounding(empty(caps.bounding()));
    caps.set_effective(empty(caps.effective()));
    caps.set_permitted(empty(caps.permitted()));
    caps.set_inheritable(empty(caps.inheritable()));
    caps.set_ambient(empty(caps.ambient()));
    process.set_capabilities(Some(caps));
}

/// The engine raises this limit for itself, to load the device rules, and sets those of the configuration after that.
fn keep_locked_memory(process: &mut Process) {
    let mut rlimits = process.rlimits().clone().unwrap_or_default();
    if rlimits.iter().all(|rlimit| rlimit.typ() != PosixRlimitType::RlimitMemlock)
        && let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK)
    {
        let callers = PosixRlimitBuilder::default().typ(PosixRlimitType::RlimitMemlock);
        rlimits.extend(callers.soft(soft).hard(hard).build());
        process.set_rlimits(Some(rlimits));
    }
}

fn normalise_mount(mount: &mut Mount, bundle: &Path, label: Option<&MountLabel>) {
    let bind = propagation::bind(mount);
    if let Some(source) = mount.source().as_ref().filter(|s| bind.is_some() && s.is_relative()) {
        let absolute = bundle.join(source);
        mount.set_source(Some(absolute));
    }
    let mut options = mount.options().clone().unwrap_or_default();
    // They change nothing, and the engine would hand them to the file system. podman has an empty one.
    options.retain(|option| !matches!(&**option, "" | "silent" | "loud"));
    for option in &mut options {
        // The engine knows these two with all mounts below only; here there are none below.
        if matches!(&**option, "nosymfollow" | "symfollow") {
            option.insert(0, 'r');
        }
    }
    let own = mount.typ().as_deref().is_some_and(|t| !LABELLED_BY_POLICY.contains(&t));
    if let Some(label) = label.filter(|_| own && bind.is_none()) {
        options.push(format!("context={}", label.as_context()));
    }
    mount.set_options((!options.is_empty()).then_some(options));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_process_without_capabilities_gets_none() {
        let mut spec = spec(
            r#"{"ociVersion":"1.2.0","process":{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0},
                "noNewPrivileges":false}}"#,
        );
        normalise(&mut spec, Path::new("/b"), "c", false).unwrap();
        let process = spec.process().as_ref().unwrap();
        assert_eq!(process.no_new_privileges(), None);
        let caps = process.capabilities().as_ref().unwrap();
        for set in [caps.bounding(), caps.effective(), caps.permitted(), caps.ambient()] {
            assert_eq!(set.as_ref().map(std::collections::HashSet::len), Some(0));
        }
    }

    #[test]
    fn no_profile_is_no_question_of_apparmor() {
        let mut spec = spec(
            r#"{"ociVersion":"1.2.0","process":{"cwd":"/","args":["x"],"user":{"uid":0,"gid":0},
                "apparmorProfile":""}}"#,
        );
        normalise(&mut spec, Path::new("/b"), "c", false).unwrap();
        assert_eq!(spec.process().as_ref().unwrap().apparmor_profile(), &None);
    }

    #[test]
    fn devices_are_denied_whatever_is_left_out() {
        for linux in [r#"{"resources":{}}"#, r#"{"resources":{"devices":[]}}"#] {
            let mut spec = spec(&format!(r#"{{"ociVersion":"1.2.0","linux":{linux}}}"#));
            normalise(&mut spec, Path::new("/b"), "c", false).unwrap();
            let resources = spec.linux().as_ref().unwrap().resources().as_ref().unwrap();
            let rules = resources.devices().as_ref().unwrap();
            assert_eq!((rules.len(), rules[0].allow()), (1, false), "{linux}");
            let once = spec.clone();
            normalise(&mut spec, Path::new("/b"), "c", false).unwrap();
            assert_eq!(spec, once, "{linux}");
        }
    }

    #[test]
    fn a_cgroup_is_below_the_top() {
        for (given, path) in [
            ("/a/b", "/a/b"),
            ("a", "/a"),
            ("/../../../bad", "/bad"),
            ("../x/./y", "/x/y"),
            ("/a/../b", "/b"),
        ] {
            assert_eq!(below_the_top(Path::new(given)).unwrap(), Path::new(path), "{given}");
        }
        for top in ["/", "/..", "..", "/a/..", "."] {
            let error = below_the_top(Path::new(top)).unwrap_err().to_string();
            assert!(error.starts_with("linux.cgroupsPath"), "{error}");
        }
    }

    #[test]
    fn relative_sources_start_at_the_bundle() {
        let mut spec = spec(
            r#"{"ociVersion":"1.2.0","mounts":[
                {"destination":"/d","source":"data","options":["bind"]}]}"#,
        );
        normalise(&mut spec, Path::new("/b"), "c", false).unwrap();
        let mounts = spec.mounts().as_ref().unwrap();
        assert_eq!(mounts[0].source().as_deref(), Some(Path::new("/b/data")));
    }

    #[test]
    fn a_user_that_means_no_change_is_refused() {
        let with = |user: &str| {
            let text = format!(r#"{{"cwd":"/","args":["x"],"user":{user}}}"#);
            refuse_no_user(&serde_json::from_str(&text).unwrap()).map_err(|e| e.to_string())
        };
        with(r#"{"uid":4294967294,"gid":4294967294,"additionalGids":[0]}"#).unwrap();
        let none = u32::MAX;
        for (field, user) in [
            ("process.user.uid", format!(r#"{{"uid":{none},"gid":0}}"#)),
            ("process.user.gid", format!(r#"{{"uid":0,"gid":{none}}}"#)),
            ("additionalGids", format!(r#"{{"uid":0,"gid":0,"additionalGids":[1,{none}]}}"#)),
        ] {
            assert!(with(&user).unwrap_err().contains(field), "{user}");
        }
    }
}
