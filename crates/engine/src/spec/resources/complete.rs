//! `linux.resources` in a form that the engine writes. Two limits of cgroup v2 that the engine leaves out are given to
//! it as files by name (`unified`), limits that would not be enforced are refused, and devices are denied unless a rule
//! allows them.

use std::collections::HashMap;

use caps::{CapSet, Capability, has_cap};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType, LinuxResources};
use sharedroot_sys::process::has_unified_cgroups;

use super::numbers::{UNLIMITED, check_processors, check_swap, leave_out_zeros};
use crate::spec::error::SpecError;

/// The limits for this host's cgroups, with the device rules that every container gets. If the configuration has no
/// limits, the engine would leave out the device rules, too.
///
/// # Errors
/// [`SpecError`] naming the field.
pub fn of_container(given: Option<LinuxResources>) -> Result<Option<LinuxResources>, SpecError> {
    if given.is_none() && Hierarchy::of_this_host() == Hierarchy::Unified && !may_load_rules() {
        tracing::warn!(
            "the container has no device rules: the configuration has no linux.resources, and to load rules needs \
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
    complete_for(resources, Hierarchy::of_this_host())
}

/// The hierarchy of a host's cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hierarchy {
    /// cgroup v2.
    Unified,
    /// cgroup v1, with or without a part of v2 beside it.
    Legacy,
}

impl Hierarchy {
    fn of_this_host() -> Self {
        match has_unified_cgroups() {
            true => Self::Unified,
            false => Self::Legacy,
        }
    }
}

/// Whether the engine can load device rules: it raises RLIMIT_MEMLOCK before it loads them into cgroup v2.
fn may_load_rules() -> bool {
    has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE).unwrap_or(false)
}

/// Puts the rule that denies every device before the other rules, as runc does. A cgroup of version 1 begins with the
/// rights of its parent.
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

fn refuse(field: &str, value: &str, remedy: &'static str) -> SpecError {
    let field = format!("linux.resources.{field}");
    SpecError::Unsupported { field, value: value.to_owned(), remedy }
}

/// The line of `rdma.max`, for one device.
fn rdma(resources: &LinuxResources, host: Hierarchy) -> Result<Option<String>, SpecError> {
    let mut line = None;
    for (device, limits) in resources.rdma().iter().flatten() {
        if host == Hierarchy::Legacy {
            return Err(refuse("rdma", &format!("{device:?}"), "use a host with cgroup v2"));
        }
        let number = |n: Option<u32>| n.map_or("max".to_owned(), |n| n.to_string());
        let (handles, objects) = (number(limits.hca_handles()), number(limits.hca_objects()));
        let new = format!("{device} hca_handle={handles} hca_object={objects}");
        if line.replace(new).is_some() {
            let remedy = "give limits for one device only";
            return Err(refuse("rdma", "more than one device", remedy));
        }
    }
    Ok(line)
}

fn complete_for(resources: &mut LinuxResources, host: Hierarchy) -> Result<(), SpecError> {
    if host == Hierarchy::Unified {
        leave_out_zeros(resources);
    }
    check_processors(resources)?;
    let mut files = resources.unified().clone().unwrap_or_default();
    if let Some(memory) = resources.memory() {
        // If memory and swap together are as much as memory alone, there is no swap. The engine reads the difference of
        // 0 as "not given".
        if host == Hierarchy::Unified
            && memory.limit().is_some_and(|limit| limit > 0)
            && memory.limit() == memory.swap()
        {
            files.entry("memory.swap.max".to_owned()).or_insert("0".to_owned());
        }
        if host == Hierarchy::Unified {
            check_swap(memory)?;
            // The engine would need a memory limit for this; runc does not.
            if (memory.limit(), memory.swap()) == (None, Some(UNLIMITED)) {
                files.entry("memory.swap.max".to_owned()).or_insert("max".to_owned());
            }
        }
        if host == Hierarchy::Legacy && memory.disable_oom_killer() == Some(true) {
            let remedy = "leave it out, or use a host with cgroup v2, where no runtime has it";
            return Err(refuse("memory.disableOOMKiller", "true", remedy));
        }
    }
    // The engine computes this with 16 bits, which overflow.
    if host == Hierarchy::Unified
        && let Some(block) = resources.block_io_mut()
        && let Some(weight) = block.weight().filter(|weight| *weight != 0)
    {
        block.set_weight(None);
        let (name, value) = weight_of_block_io(weight, has_bfq());
        files.entry(name.to_owned()).or_insert(value.to_string());
    }
    if let Some(line) = rdma(resources, host)?
        && files.insert("rdma.max".to_owned(), line).is_some()
    {
        let remedy = "give limits for one device only";
        return Err(refuse("rdma", "more than one device", remedy));
    }
    if !files.is_empty() && host == Hierarchy::Legacy {
        let given = files.keys().next().cloned().unwrap_or_default();
        let remedy = "cgroup v1 has no such files; use a host with cgroup v2";
        return Err(refuse("unified", &format!("{given:?}"), remedy));
    }
    let given = files.iter().find(|(name, _)| name.contains('/') || !name.contains('.'));
    if let Some((name, _)) = given {
        let remedy = "give the name of a file of the cgroup, such as memory.high";
        return Err(refuse("unified", &format!("{name:?}"), remedy));
    }
    if host == Hierarchy::Unified
        && let Some(memory) = resources.memory_mut()
        && memory.limit().is_none()
    {
        memory.set_swap(None);
    }
    resources.set_unified((!files.is_empty()).then_some(files).map(HashMap::from_iter));
    Ok(())
}

/// The file and the number for a weight of cgroup v1, as runc computes them: BFQ's file if the kernel has BFQ, else a
/// linear mapping from 10…1000 to 1…10000.
fn weight_of_block_io(weight: u16, bfq: bool) -> (&'static str, u64) {
    match u64::from(weight) {
        weight if bfq => ("io.bfq.weight", weight),
        weight => ("io.weight", 1 + weight.saturating_sub(10) * 9999 / 990),
    }
}

/// Whether a cgroup of this host has BFQ's weight. The root cgroup has none, and the container's does not exist yet.
fn has_bfq() -> bool {
    let top = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    top.into_iter().any(|entry| entry.path().join("io.bfq.weight").exists())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::numbers::LONGEST_QUOTA;
    use super::Hierarchy::{Legacy, Unified};
    use super::*;

    pub fn completed(text: &str, host: Hierarchy) -> Result<LinuxResources, String> {
        let mut resources: LinuxResources = serde_json::from_str(text).unwrap();
        complete_for(&mut resources, host).map_err(|e| e.to_string()).map(|()| resources)
    }

    pub fn file(resources: &LinuxResources, name: &str) -> Option<String> {
        resources.unified().as_ref()?.get(name).cloned()
    }

    #[test]
    fn devices_are_denied_before_they_are_allowed() {
        let rules = |text: &str| {
            let mut resources = completed(text, Unified).unwrap();
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
    fn no_weight_is_too_large_for_the_engine() {
        for (weight, wanted) in [(10, 1), (500, 4950), (1000, 10_000), (u16::MAX, 661_803)] {
            assert_eq!(weight_of_block_io(weight, false), ("io.weight", wanted), "{weight}");
            assert_eq!(weight_of_block_io(weight, true), ("io.bfq.weight", weight.into()));
        }
        let weight = completed(r#"{"blockIO":{"weight":500}}"#, Unified).unwrap();
        assert_eq!(
            weight.block_io().as_ref().and_then(oci_spec::runtime::LinuxBlockIo::weight),
            None
        );
    }

    #[test]
    fn no_number_is_too_large_for_the_engine() {
        let processors =
            |list: &str| completed(&format!(r#"{{"cpu":{{"cpus":{list:?}}}}}"#), Unified);
        for right in ["0", "0-3,8", " 1 , 7 ", "8191", "0-8191"] {
            assert!(processors(right).is_ok(), "{right}");
        }
        for wrong in ["8192", "0-99999999999", "a", "1-b", "99999999999999999999999"] {
            assert!(processors(wrong).unwrap_err().contains("linux.resources.cpu.cpus"), "{wrong}");
        }
        let file = completed(r#"{"unified":{"cpuset.cpus":"0-4294967294"}}"#, Unified).unwrap_err();
        assert!(file.contains("unified.cpuset.cpus"), "{file}");
        for quota in [LONGEST_QUOTA + 1, i64::MAX] {
            let wrong = completed(&format!(r#"{{"cpu":{{"quota":{quota}}}}}"#), Unified);
            assert!(wrong.unwrap_err().contains("cpu.quota"), "{quota}");
        }
    }

    #[test]
    fn no_swap_is_said_to_the_kernel() {
        let same = r#"{"memory":{"limit":67108864,"swap":67108864}}"#;
        assert_eq!(file(&completed(same, Unified).unwrap(), "memory.swap.max").unwrap(), "0");
        assert_eq!(completed(same, Legacy).unwrap().unified(), &None);
        let more = r#"{"memory":{"limit":67108864,"swap":134217728}}"#;
        assert_eq!(completed(more, Unified).unwrap().unified(), &None);
        let unlimited = r#"{"memory":{"limit":-1,"swap":-1}}"#;
        assert_eq!(completed(unlimited, Unified).unwrap().unified(), &None);
    }

    #[test]
    fn swap_is_worked_out_as_runc_does_it() {
        let swap = |memory: &str| {
            completed(&format!(r#"{{"memory":{memory}}}"#), Unified).map(|resources| {
                let memory = resources.memory().unwrap_or_default();
                (memory.limit(), memory.swap(), file(&resources, "memory.swap.max"))
            })
        };
        for alone in [r#"{"swap":1048576}"#, r#"{"limit":-1,"swap":1048576}"#] {
            assert!(swap(alone).unwrap_err().contains("without memory limit"), "{alone}");
        }
        let less = swap(r#"{"limit":2097152,"swap":1048576}"#).unwrap_err();
        assert!(less.contains("memory+swap limit should be >= memory limit"), "{less}");
        let all = Some("max".to_owned());
        assert_eq!(swap(r#"{"swap":-1}"#), Ok((None, None, all)));
        assert_eq!(swap(r#"{"limit":1048576,"swap":-1}"#), Ok((Some(1 << 20), Some(-1), None)));
        assert_eq!(swap(r#"{"limit":0,"swap":0,"reservation":0}"#), Ok((None, None, None)));
        for wrong in [r#"{"limit":-2}"#, r#"{"swap":-2}"#] {
            assert!(swap(wrong).unwrap_err().contains("invalid"), "{wrong}");
        }
    }

    #[test]
    fn rdma_is_a_file_of_cgroup_v2() {
        let one = r#"{"rdma":{"mlx5_0":{"hcaHandles":3}}}"#;
        let line = file(&completed(one, Unified).unwrap(), "rdma.max").unwrap();
        assert_eq!(line, "mlx5_0 hca_handle=3 hca_object=max");
        assert!(
            completed(one, Legacy).unwrap_err().starts_with("linux.resources.rdma: \"mlx5_0\"")
        );
        let two = r#"{"rdma":{"a":{},"b":{}}}"#;
        assert!(completed(two, Unified).unwrap_err().contains("more than one device"));
    }

    #[test]
    fn what_no_cgroup_has_is_refused() {
        let oom = r#"{"memory":{"disableOOMKiller":true}}"#;
        assert!(completed(oom, Legacy).unwrap_err().contains("memory.disableOOMKiller"));
        assert!(completed(oom, Unified).is_ok());
        let high = r#"{"unified":{"memory.high":"1"}}"#;
        assert!(completed(high, Legacy).unwrap_err().contains("linux.resources.unified"));
        assert_eq!(file(&completed(high, Unified).unwrap(), "memory.high").unwrap(), "1");
        for wrong in ["../other/memory.max", "memory"] {
            let text = format!(r#"{{"unified":{{"{wrong}":"1"}}}}"#);
            assert!(completed(&text, Unified).unwrap_err().contains(wrong));
        }
    }
}
