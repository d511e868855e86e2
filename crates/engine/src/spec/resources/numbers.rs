//! Numbers in limits: those that the engine or the kernel would misread, and those that mean "not given".

use oci_spec::runtime::{LinuxMemory, LinuxResources};

use crate::spec::error::SpecError;

/// One more than the largest number of a processor or memory node that any kernel has (NR_CPUS in the kernel's
/// Kconfig).
const PROCESSORS: u32 = 8192;

/// The longest quota that the kernel accepts, in microseconds (`max_bw_runtime_us` in kernel/sched/core.c).
pub const LONGEST_QUOTA: i64 = 1 << 44;

/// Refuses numbers that the kernel would refuse, but with which the engine fails earlier: the engine allocates a bit
/// for each smaller number, and multiplies a quota by a million.
pub fn check_processors(resources: &LinuxResources) -> Result<(), SpecError> {
    let cpu = resources.cpu().clone().unwrap_or_default();
    let file = |name| resources.unified().as_ref()?.get(name).map(String::as_str);
    let lists = [
        ("cpu.cpus", cpu.cpus().as_deref()),
        ("cpu.mems", cpu.mems().as_deref()),
        ("unified.cpuset.cpus", file("cpuset.cpus")),
        ("unified.cpuset.mems", file("cpuset.mems")),
    ];
    let refuse = |field: &str, value: &str, remedy| {
        let (field, value) = (format!("linux.resources.{field}"), format!("{value:?}"));
        Err(SpecError::Unsupported { field, value, remedy })
    };
    for (field, list) in lists {
        let Some(list) = list else { continue };
        if numbers_of(list).any(|number| number.is_none_or(|number| number >= PROCESSORS)) {
            return refuse(
                field,
                list,
                "give numbers below 8192, and ranges of them, such as 0-3,8",
            );
        }
    }
    match cpu.quota() {
        Some(quota) if quota > LONGEST_QUOTA => {
            refuse("cpu.quota", &quota.to_string(), "give at most 2^44 microseconds")
        }
        _ => Ok(()),
    }
}

/// The numbers in a list such as `0-3,8`.
fn numbers_of(list: &str) -> impl Iterator<Item = Option<u32>> {
    let numbers = list.split([',', '-']).map(str::trim).filter(|number| !number.is_empty());
    numbers.map(|number| number.parse().ok())
}

/// The number that means "no limit" in the configuration.
pub const UNLIMITED: i64 = -1;

/// Removes the numbers that mean "not given", as runc reads them. Docker's `update` sends all of them.
pub fn leave_out_zeros(resources: &mut LinuxResources) {
    if let Some(memory) = resources.memory_mut() {
        let given = |number: Option<i64>| number.filter(|number| *number != 0);
        memory.set_limit(given(memory.limit()));
        memory.set_swap(given(memory.swap()));
        memory.set_reservation(given(memory.reservation()));
    }
    if let Some(cpu) = resources.cpu_mut() {
        cpu.set_shares(cpu.shares().filter(|shares| *shares != 0));
        cpu.set_quota(cpu.quota().filter(|quota| *quota != 0));
        cpu.set_period(cpu.period().filter(|period| *period != 0));
        cpu.set_cpus(cpu.cpus().clone().filter(|cpus| !cpus.is_empty()));
        cpu.set_mems(cpu.mems().clone().filter(|mems| !mems.is_empty()));
    }
}

/// Refuses a limit of memory and swap together that gives no valid limit of swap alone, which is what cgroup v2 has.
/// The messages are runc's.
pub fn check_swap(memory: &LinuxMemory) -> Result<(), SpecError> {
    let wrong = match (memory.limit(), memory.swap()) {
        (_, Some(swap)) if swap < UNLIMITED => "invalid memory+swap value",
        (Some(limit), _) if limit < UNLIMITED => "invalid memory value",
        (None | Some(UNLIMITED), Some(1..)) => "unable to set swap limit without memory limit",
        (Some(limit), Some(swap @ 1..)) if swap < limit => {
            "memory+swap limit should be >= memory limit"
        }
        _ => return Ok(()),
    };
    Err(SpecError::Memory { why: wrong })
}
