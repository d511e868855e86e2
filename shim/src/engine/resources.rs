//! `linux.resources` in what the engine writes: two limits of cgroup v2 it leaves out are given to
//! it as files by name (`unified`), what nobody would enforce is refused, and devices are denied unless
//! a rule allows them.

use std::collections::HashMap;
use std::path::Path;

use caps::{CapSet, Capability, has_cap};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources};

use super::normal::SpecError;

/// The limits for this host's cgroups, with the device rules that every container gets: without any limits the engine
/// would leave those out, too.
///
/// # Errors
/// [`SpecError`] naming the field.
pub fn of_container(given: Option<LinuxResources>) -> Result<Option<LinuxResources>, SpecError> {
    if given.is_none() && is_unified() && !may_load_rules() {
        tracing::warn!(
            "the container has no device rules: the configuration has no linux.resources, and to load rules takes \
             CAP_SYS_RESOURCE"
        );
        return Ok(None);
    }
    let mut resources = given.unwrap_or_default();
    complete(&mut resources)?;
    deny_devices(&mut resources);
    Ok(Some(resources))
}

/// Completes the limits for this host's cgroups.
///
/// # Errors
/// [`SpecError`] naming the field.
pub fn complete(resources: &mut LinuxResources) -> Result<(), SpecError> {
    complete_for(resources, is_unified())
}

fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The engine raises RLIMIT_MEMLOCK before it loads rules into cgroup v2.
fn may_load_rules() -> bool {
    has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE).unwrap_or(false)
}

/// Puts the rule that denies every device before the others, where runc begins, too: a cgroup of version 1 begins with
/// what the one above it may.
fn deny_devices(resources: &mut LinuxResources) {
    let mut rules = resources.devices().clone().unwrap_or_default();
    let is_for_all =
        |rule: &LinuxDeviceCgroup| rule.typ().unwrap_or_default() == LinuxDeviceType::A;
    if !rules.first().is_some_and(is_for_all) {
        let mut deny = LinuxDeviceCgroup::default();
        deny.set_allow(false).set_typ(Some(LinuxDeviceType::A)).set_access(Some("rwm".to_owned()));
        rules.insert(0, deny);
        resources.set_devices(Some(rules));
    }
}

fn complete_for(resources: &mut LinuxResources, unified: bool) -> Result<(), SpecError> {
    let mut files = resources.unified().clone().unwrap_or_default();
    let refuse = |field: &str, value: &str, remedy| SpecError::Unsupported {
        field: format!("linux.resources.{field}"),
        value: value.to_owned(),
        remedy,
    };
    if let Some(memory) = resources.memory() {
        // Memory and swap together are as much as memory alone: no swap. The engine takes the
        // difference of 0 for "not given".
        if unified
            && memory.limit().is_some_and(|limit| limit > 0)
            && memory.limit() == memory.swap()
        {
            files.entry("memory.swap.max".to_owned()).or_insert("0".to_owned());
        }
        if !unified && memory.disable_oom_killer() == Some(true) {
            let remedy = "leave it out, or use a host with cgroup v2, where no runtime has it";
            return Err(refuse("memory.disableOOMKiller", "true", remedy));
        }
    }
    for (device, limits) in resources.rdma().iter().flatten() {
        if !unified {
            let remedy = "use a host with cgroup v2";
            return Err(refuse("rdma", &format!("{device:?}"), remedy));
        }
        let number = |n: Option<u32>| n.map_or("max".to_owned(), |n| n.to_string());
        let (handles, objects) = (number(limits.hca_handles()), number(limits.hca_objects()));
        let line = format!("{device} hca_handle={handles} hca_object={objects}");
        if files.insert("rdma.max".to_owned(), line).is_some() {
            let remedy = "give limits for one device only";
            return Err(refuse("rdma", "more than one device", remedy));
        }
    }
    if !files.is_empty() && !unified {
        let given = files.keys().next().cloned().unwrap_or_default();
        let remedy = "cgroup v1 has no such files; use a host with cgroup v2";
        return Err(refuse("unified", &format!("{given:?}"), remedy));
    }
    let given = files.iter().find(|(name, _)| name.contains('/') || !name.contains('.'));
    if let Some((name, _)) = given {
        let remedy = "give the name of a file of the cgroup, such as memory.high";
        return Err(refuse("unified", &format!("{name:?}"), remedy));
    }
    resources.set_unified((!files.is_empty()).then_some(files).map(HashMap::from_iter));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(text: &str, unified: bool) -> Result<LinuxResources, String> {
        let mut resources: LinuxResources = serde_json::from_str(text).unwrap();
        complete_for(&mut resources, unified).map_err(|e| e.to_string()).map(|()| resources)
    }

    fn file(resources: &LinuxResources, name: &str) -> Option<String> {
        resources.unified().as_ref()?.get(name).cloned()
    }

    #[test]
    fn devices_are_denied_before_they_are_allowed() {
        let rules = |text: &str| {
            let mut resources = completed(text, true).unwrap();
            deny_devices(&mut resources);
            let rules = resources.devices().clone().unwrap();
            rules.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let kmsg = r#"{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}"#;
        assert_eq!(rules("{}"), ["a *:* rwm"]);
        assert_eq!(rules(&format!(r#"{{"devices":[{kmsg}]}}"#)), ["a *:* rwm", "c 1:11 r"]);
        let dockers = format!(r#"{{"devices":[{{"allow":false,"access":"rwm"}},{kmsg}]}}"#);
        assert_eq!(rules(&dockers), ["a *:* rwm", "c 1:11 r"]);
    }

    #[test]
    fn no_swap_is_said_to_the_kernel() {
        let same = r#"{"memory":{"limit":67108864,"swap":67108864}}"#;
        assert_eq!(file(&completed(same, true).unwrap(), "memory.swap.max").unwrap(), "0");
        assert_eq!(completed(same, false).unwrap().unified(), &None);
        let more = r#"{"memory":{"limit":67108864,"swap":134217728}}"#;
        assert_eq!(completed(more, true).unwrap().unified(), &None);
        let unlimited = r#"{"memory":{"limit":-1,"swap":-1}}"#;
        assert_eq!(completed(unlimited, true).unwrap().unified(), &None);
    }

    #[test]
    fn rdma_is_a_file_of_cgroup_v2() {
        let one = r#"{"rdma":{"mlx5_0":{"hcaHandles":3}}}"#;
        let line = file(&completed(one, true).unwrap(), "rdma.max").unwrap();
        assert_eq!(line, "mlx5_0 hca_handle=3 hca_object=max");
        assert!(completed(one, false).unwrap_err().starts_with("linux.resources.rdma: \"mlx5_0\""));
        let two = r#"{"rdma":{"a":{},"b":{}}}"#;
        assert!(completed(two, true).unwrap_err().contains("more than one device"));
    }

    #[test]
    fn what_no_cgroup_has_is_refused() {
        let oom = r#"{"memory":{"disableOOMKiller":true}}"#;
        assert!(completed(oom, false).unwrap_err().contains("memory.disableOOMKiller"));
        assert!(completed(oom, true).is_ok());
        let high = r#"{"unified":{"memory.high":"1"}}"#;
        assert!(completed(high, false).unwrap_err().contains("linux.resources.unified"));
        assert_eq!(file(&completed(high, true).unwrap(), "memory.high").unwrap(), "1");
        for wrong in ["../other/memory.max", "memory"] {
            let text = format!(r#"{{"unified":{{"{wrong}":"1"}}}}"#);
            assert!(completed(&text, true).unwrap_err().contains(wrong));
        }
    }
}
