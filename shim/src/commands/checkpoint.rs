//! `checkpoint` and `restore`, which only a delegate has.

use sharedroot_engine::{CreateOptions, Engine};

use crate::argv;
use crate::cli::{Global, Restore, Verb};
use crate::config::Config;
use crate::lifecycle::{Container, LifecycleError, Order, choice, tell};

/// `checkpoint` on the embedded engine.
///
/// # Errors
/// [`LifecycleError::NoCriu`].
pub fn refuse(container: &Container, verb: &Verb) -> Result<u8, LifecycleError> {
    Err(LifecycleError::NoCriu { verb: verb.name(), id: container.id().clone() })
}

/// Makes a container of the files of `checkpoint`. `verb` is `restore`, with these flags. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn restore(
    global: &Global,
    config: &Config,
    verb: &Verb,
    args: &Restore,
) -> Result<u8, LifecycleError> {
    let choice = choice(global, config)?;
    let container = Container::named(global, &args.id, config)?;
    match (container.engine(), container.engine_of(&choice)?) {
        // From `checkpoint` to `delete` the root stays as the processes left it.
        (Engine::Delegate(known), _) if container.has_private_rootfs() => {
            tell(format_args!("restore: handed to {}", known.program().display()));
            Ok(known.take_over(&argv::of(known.dialect(), verb))?)
        }
        (_, Engine::Embedded(_)) => refuse(&container, verb),
        (_, engine) => {
            let options = CreateOptions::default();
            let order = Order { bundle: &args.bundle, choice: &choice, verb, options };
            container.create(&engine, &order)
        }
    }
}
