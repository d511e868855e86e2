//! The process of a configuration, or of `exec`, as runc would start it.

use nix::sys::resource::{Resource, getrlimit};
use oci_spec::runtime::{
    Capabilities, LinuxCapabilities, PosixRlimitBuilder, PosixRlimitType, Process,
};

use super::error::SpecError;

/// The umask of a process whose configuration gives none, as with runc and crun.
const UMASK: u32 = 0o022;

/// Refuses the user ID and the group ID that mean "no change" in setresuid(2) and setresgid(2): the process would stay
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

/// Refuses an AppArmor profile on a host without AppArmor. There the engine's write of the profile could succeed,
/// because another security module has a file of that name.
///
/// # Errors
/// [`SpecError::Unsupported`] naming the field.
pub fn refuse_no_apparmor(process: &Process) -> Result<(), SpecError> {
    let asked = process.apparmor_profile().as_deref().filter(|profile| !profile.is_empty());
    match asked {
        // The engine makes the same check, but in `create` only.
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

/// The `HOME` of a process whose configuration gives none or an empty one; the engine would look for the home directory
/// itself. A configuration that contains this value gets the same directory.
pub const UNKNOWN_HOME: &str = "HOME=sharedroot:of-the-user";

/// Sets the values that runc assumes if the configuration leaves them out.
pub fn normalise_process(process: &mut Process) {
    // The engine would call getpwuid(3) in the container, so the workload reads the file itself.
    let mut env = process.env().clone().unwrap_or_default();
    env.retain(|variable| variable != "HOME=");
    if !env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(UNKNOWN_HOME.to_owned());
    }
    process.set_env(Some(env));
    // The engine treats a given "false" as "true" when it orders seccomp and capabilities.
    if process.no_new_privileges() == Some(false) {
        process.set_no_new_privileges(None);
    }
    // The engine would require AppArmor; runc treats an empty name as none.
    if process.apparmor_profile().as_deref() == Some("") {
        process.set_apparmor_profile(None);
    }
    // The engine would leave the process the caller's umask.
    if process.user().umask().is_none() {
        let mut user = process.user().clone();
        user.set_umask(Some(UMASK));
        process.set_user(user);
    }
    // runc gives a process without capabilities none; the engine would leave the process all of root's.
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

/// The engine raises this limit for itself in order to load the device rules, and sets the configuration's limits after
/// that.
pub fn keep_locked_memory(process: &mut Process) {
    let mut rlimits = process.rlimits().clone().unwrap_or_default();
    if rlimits.iter().all(|rlimit| rlimit.typ() != PosixRlimitType::RlimitMemlock)
        && let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK)
    {
        let callers = PosixRlimitBuilder::default().typ(PosixRlimitType::RlimitMemlock);
        rlimits.extend(callers.soft(soft).hard(hard).build());
        process.set_rlimits(Some(rlimits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
