//! Limits in the form that the engine passes to systemd.

use oci_spec::runtime::{LinuxCpu, LinuxResources};

use super::numbers::{LONGEST_QUOTA, UNLIMITED};

/// The limits in the form that the engine passes to systemd; the engine leaves out or misreads some other forms.
/// `cpu_max` is the present content of the container's file `cpu.max`: the engine always sets quota and period
/// together.
#[must_use]
pub fn for_systemd(resources: &LinuxResources, cpu_max: Option<&str>) -> LinuxResources {
    let mut told = resources.clone();
    let mut files = told.unified().clone().unwrap_or_default();
    let mut cpu = told.cpu().clone().unwrap_or_default();
    if let Some((quota, period)) = files.remove("cpu.max").as_deref().map(numbers) {
        cpu.set_quota(quota.or(cpu.quota()));
        cpu.set_period(period.or(cpu.period()));
    }
    if told.cpu().is_some() || cpu != LinuxCpu::default() {
        let (quota, period) = cpu_max.map(numbers).unwrap_or_default();
        cpu.set_quota(cpu.quota().or(quota));
        cpu.set_period(cpu.period().or(period));
        told.set_cpu(Some(cpu));
    }
    if let Some(cpu) = told.cpu_mut() {
        cpu.set_cpus(cpu.cpus().as_deref().map(in_ranges));
        cpu.set_mems(cpu.mems().as_deref().map(in_ranges));
    }
    if files.get("memory.swap.max").is_some_and(|most| most == "max")
        && let Some(memory) = told.memory_mut()
    {
        memory.set_swap(memory.swap().or(Some(UNLIMITED)));
    }
    // The engine reads 0 as no limit for systemd, while in a cgroup 0 becomes 1.
    if let Some(pids) = told.pids_mut().as_mut().filter(|pids| pids.limit() == 0) {
        pids.set_limit(1);
    }
    files.retain(|name, _| OF_SYSTEMD.contains(&&**name));
    for (name, value) in &mut files {
        if name.starts_with("cpuset.") {
            *value = in_ranges(value);
        } else if value.trim() == "max" {
            *value = if name == "pids.max" { "-1".to_owned() } else { u64::MAX.to_string() };
        }
    }
    told.set_unified((!files.is_empty()).then_some(files));
    told
}

/// The files by name that the engine passes to systemd correctly.
const OF_SYSTEMD: [&str; 7] = [
    "memory.min",
    "memory.low",
    "memory.high",
    "memory.max",
    "pids.max",
    "cpuset.cpus",
    "cpuset.mems",
];

/// Quota and period of the text of `cpu.max`; the quota -1 means no quota.
fn numbers(cpu_max: &str) -> (Option<i64>, Option<u64>) {
    let mut words = cpu_max.split_whitespace();
    let quota = words.next().and_then(|quota| match quota {
        "max" => Some(UNLIMITED),
        quota => quota.parse().ok(),
    });
    let quota = quota.filter(|quota| *quota <= LONGEST_QUOTA);
    (quota, words.next().and_then(|period| period.parse().ok()).filter(|period| *period > 0))
}

/// The list with each number as a range. For systemd, the engine allocates the bits of a range, and panics at a single
/// number that is more than eight above the others.
fn in_ranges(list: &str) -> String {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    let ranges = parts.map(|part| match part.contains('-') {
        true => part.to_owned(),
        false => format!("{part}-{part}"),
    });
    ranges.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::complete::Hierarchy;
    use super::super::complete::tests::{completed, file};
    use super::*;

    #[test]
    fn systemd_is_told_what_stays() {
        let told = |text: &str, cpu_max| {
            for_systemd(&completed(text, Hierarchy::Unified).unwrap(), cpu_max)
        };
        let cpu = |resources: &LinuxResources| {
            resources.cpu().as_ref().map(|cpu| (cpu.quota(), cpu.period(), cpu.shares()))
        };
        let now = Some("50000 100000\n");
        let both = (Some(50_000), Some(100_000));
        for (text, wanted) in [
            (r#"{"cpu":{"shares":512}}"#, (both.0, both.1, Some(512))),
            (r#"{"cpu":{}}"#, (both.0, both.1, None)),
            (r#"{"cpu":{"shares":0,"quota":0,"period":0}}"#, (both.0, both.1, None)),
            (r#"{"cpu":{"period":20000}}"#, (both.0, Some(20_000), None)),
            (r#"{"cpu":{"quota":-1}}"#, (Some(-1), both.1, None)),
            (r#"{"unified":{"cpu.max":"max 30000"}}"#, (Some(-1), Some(30_000), None)),
        ] {
            assert_eq!(cpu(&told(text, now)), Some(wanted), "{text}");
        }
        assert_eq!(cpu(&told(r#"{"memory":{"limit":1048576}}"#, now)), None);
        let unlimited = told(r#"{"memory":{"swap":-1}}"#, None);
        assert_eq!(unlimited.memory().unwrap().swap(), Some(-1));
        let files = r#"{"unified":{"memory.high":"max","pids.max":"max","cpu.weight":"5"}}"#;
        let files = told(files, None);
        assert_eq!(file(&files, "memory.high").unwrap(), u64::MAX.to_string());
        assert_eq!(file(&files, "pids.max").unwrap(), "-1");
        assert_eq!(file(&files, "cpu.weight"), None, "systemd would read it as shares");
        let none = told(r#"{"pids":{"limit":0}}"#, None);
        assert_eq!(none.pids().as_ref().unwrap().limit(), 1);
    }

    #[test]
    fn no_number_is_too_large_for_the_way_to_systemd() {
        for wrong in ["1000 0", "9223372036854775807 1"] {
            let (quota, period) = numbers(wrong);
            let quota = u64::try_from(quota.unwrap_or(1)).unwrap();
            assert!(quota.checked_mul(1_000_000).is_some() && period != Some(0), "{wrong}");
        }
        assert_eq!(in_ranges("20,3-4, 9"), "20-20,3-4,9-9");
    }
}
