//! `update` on the embedded engine.

use std::fs::File;
use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};
use sharedroot_engine::{Embedded, Limits};
use sharedroot_format::json;

use super::file_error::read_error;
use crate::cli::{Further, Update};
use crate::lifecycle::{Container, LifecycleError};

/// Changes the container's limits. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn update(
    container: &Container,
    embedded: &Embedded,
    args: &Update,
) -> Result<u8, LifecycleError> {
    container.update(embedded, limits(args)?)?;
    Ok(0)
}

fn limits(args: &Update) -> Result<Limits, LifecycleError> {
    if args.further != Further::default() {
        return Err(LifecycleError::Argument {
            flag: "update",
            value: format!("{:?}", args.further),
            wanted: "the embedded engine has no such limits; create the container with --engine \
                     runc or --engine crun",
        });
    }
    let Some(path) = &args.resources else { return Ok(Limits::of(of_flags(args))?) };
    let text = if path == Path::new("-") {
        json::read(std::io::stdin()).map_err(read_error("standard input"))?
    } else {
        File::open(path).and_then(json::read).map_err(read_error(path))?
    };
    Ok(Limits::parse(path.clone(), &text)?)
}

/// The limits that the flags of `update` give.
fn of_flags(flags: &Update) -> LinuxResources {
    let mut memory = LinuxMemory::default();
    memory.set_limit(flags.memory).set_reservation(flags.memory_reservation);
    memory.set_swap(flags.memory_swap);
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(flags.cpu_shares).set_quota(flags.cpu_quota).set_period(flags.cpu_period);
    cpu.set_cpus(flags.cpuset_cpus.clone()).set_mems(flags.cpuset_mems.clone());
    let mut resources = LinuxResources::default();
    resources.set_devices(None).set_memory(Some(memory)).set_cpu(Some(cpu));
    if let Some(limit) = flags.pids_limit {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    if let Some(weight) = flags.blkio_weight {
        let mut block = LinuxBlockIo::default();
        block.set_weight(Some(weight));
        resources.set_block_io(Some(block));
    }
    resources
}
