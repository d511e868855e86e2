//! `create` and `run`.

use sharedroot_engine::{Choice, CreateOptions, seal};

use crate::cli::{Create, Global, Run, Verb};
use crate::config::Config;
use crate::lifecycle::{Container, LifecycleError, Order, choice};

/// Makes a container, on the engine of new containers. `verb` is `create`, with these flags. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn create(
    global: &Global,
    config: &Config,
    verb: &Verb,
    args: &Create,
) -> Result<u8, LifecycleError> {
    let choice = choice_for_programs(global, config)?;
    let container = Container::named(global, &args.id, config)?;
    let engine = container.engine_of(&choice)?;
    let options = CreateOptions { detach: true, ..options(global, args) };
    container.create(&engine, &Order { bundle: &args.bundle, choice: &choice, verb, options })
}

/// Makes a container, and starts it. `verb` is `run`, with these flags. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn run(
    global: &Global,
    config: &Config,
    verb: &Verb,
    Run { create: args, detach, keep }: &Run,
) -> Result<u8, LifecycleError> {
    let choice = choice_for_programs(global, config)?;
    let container = Container::named(global, &args.id, config)?;
    let engine = container.engine_of(&choice)?;
    let options = CreateOptions { detach: *detach, ..options(global, args) };
    let order = Order { bundle: &args.bundle, choice: &choice, verb, options };
    container.run(&engine, &order, *keep)
}

/// The engine of a new container. The embedded engine's container must not reach this executable; a delegate itself protects
/// its own.
fn choice_for_programs(global: &Global, config: &Config) -> Result<Choice, LifecycleError> {
    let choice = choice(global, config)?;
    if choice == Choice::Libcontainer {
        seal()?;
    }
    Ok(choice)
}

/// What `create` and `run` have in common.
fn options(global: &Global, args: &Create) -> CreateOptions {
    CreateOptions {
        pid_file: args.pid_file.clone(),
        console_socket: args.console_socket.clone(),
        preserve_fds: args.preserve_fds,
        no_pivot: args.no_pivot,
        systemd_cgroup: global.systemd_cgroup,
        detach: false,
        no_new_keyring: args.no_new_keyring,
    }
}
