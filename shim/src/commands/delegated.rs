//! The verbs about an existing container of a delegate.

use sharedroot_engine::{Delegate, Dialect};

use super::{events, exec, ps};
use crate::argv;
use crate::cli::{Format, Verb};
use crate::lifecycle::{Container, LifecycleError, tell};

/// Has the delegate execute the verb in place of this process, except where crun does less than runc. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn run(container: &Container, delegate: &Delegate, verb: Verb) -> Result<u8, LifecycleError> {
    match (&verb, delegate.dialect()) {
        // With flags alone, crun gives the process less than the container has: no PATH, no no_new_privs.
        (Verb::Exec(args), Dialect::Crun) if args.process.is_none() => {
            if let Some(status) = exec::exec_by_file(container, delegate, args)? {
                return Ok(status);
            }
        }
        (Verb::Ps(args), Dialect::Crun) if args.format == Format::Table => {
            if let Some(pids) = delegate.processes()? {
                return ps::table(&pids, &args.ps_options);
            }
        }
        (Verb::Events(args), Dialect::Crun) => {
            if let Some(first) = delegate.event()? {
                let next = || Ok(delegate.event()?);
                return events::repeat(args, first, next);
            }
        }
        _ => {}
    }
    let signal = match &verb {
        Verb::Kill(args) => format!(" {}", args.signal),
        _ => String::new(),
    };
    // journald may read this process's command line when the process is the engine already, with all flags of an
    // `exec`.
    if !matches!(&verb, Verb::Exec(args) if args.process.is_none()) {
        // Only the engine's own log says whether the verb succeeds.
        tell(format_args!("{}{signal}: handed to {}", verb.name(), delegate.program().display()));
    }
    Ok(delegate.take_over(&argv::of(delegate.dialect(), &verb))?)
}
