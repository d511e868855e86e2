//! The verbs about an existing container, on the embedded engine.

use std::fs::File;
use std::path::Path;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};
use serde_json::{Value, json};
use sharedroot_engine::{Embedded, Limits, Status, event, seal, update};
use sharedroot_format::json;

use super::{print, process, read_error, repeat};
use crate::cli::{Format, Further, Update, Verb};
use crate::lifecycle::{Container, LifecycleError, tell};
use crate::output::say;

/// Executes the verb. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn steer(container: &Container, embedded: &Embedded, verb: Verb) -> Result<u8, LifecycleError> {
    match verb {
        Verb::Start(_) => container.start(embedded)?,
        Verb::State(_) => print(&state(container, embedded)?),
        Verb::Kill(args) => {
            embedded.kill(&args.signal, args.all)?;
            let whom = if args.all { " to all its processes" } else { "" };
            tell(format_args!("signal {}{whom}", args.signal));
        }
        Verb::Exec(args) => {
            seal()?;
            return process::exec(container, embedded, *args);
        }
        Verb::Ps(args) if args.format == Format::Json => {
            say!("{}", json!(embedded.processes()?))
        }
        Verb::Ps(args) => process::table(&embedded.processes()?, &args.ps_options)?,
        Verb::Pause(_) => {
            embedded.pause()?;
            tell(format_args!("paused"));
        }
        Verb::Resume(_) => {
            embedded.resume()?;
            tell(format_args!("resumed"));
        }
        Verb::Update(args) => {
            update(embedded, limits(&args)?)?;
            tell(format_args!("limits updated"));
        }
        Verb::Events(args) => {
            return repeat(&args, event(embedded)?, || Ok(Some(event(embedded)?)));
        }
        Verb::Checkpoint(_) => {
            return Err(LifecycleError::NoCriu { verb: verb.name(), id: container.id().clone() });
        }
        // The other verbs make a container, or do not name a container.
        _ => {}
    }
    Ok(0)
}

/// runc's `state`.
///
/// # Errors
/// [`LifecycleError`].
pub fn state(container: &Container, embedded: &Embedded) -> Result<Value, LifecycleError> {
    let known = embedded.load("state")?;
    let record = container.record();
    let status = Status::from(known.status());
    let pid = if status == Status::Stopped { 0 } else { known.pid().map_or(0, |p| p.as_raw()) };
    let mut state = json!({
        "ociVersion": known.state.oci_version,
        "id": container.id().as_str(),
        "pid": pid,
        "status": status.to_string(),
        "bundle": record.map_or_else(|| known.bundle().clone(), |r| r.bundle.clone()),
        "rootfs": record.map(|r| r.root_path.clone()),
        "created": known.created(),
        "owner": known.creator().map(|o| o.to_string_lossy().into_owned()).unwrap_or_default(),
    });
    if let Some(annotations) = known.state.annotations.as_ref().filter(|map| !map.is_empty()) {
        state["annotations"] = json!(annotations);
    }
    Ok(state)
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
