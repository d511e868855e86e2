//! From the command line to a verb. Each verb has a file.

mod checkpoint;
mod create;
mod delegated;
mod delete;
mod events;
mod exec;
mod features;
mod file_error;
mod kill;
mod list;
mod ps;
mod spec;
mod start;
mod state;
mod update;

use sharedroot_engine::{Embedded, Engine};
use sharedroot_sys::process_start::began;

use crate::admin;
use crate::cli::{Cli, Global, Verb};
use crate::config::Config;
use crate::lifecycle::{Container, LifecycleError};
use crate::log::whole;
use crate::privilege;
use crate::starts::{self, Step};

/// Executes the command line. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`], which the caller prints.
pub fn run(cli: Cli) -> Result<u8, LifecycleError> {
    let Cli { global, verb } = cli;
    if let Verb::Config(below) = &verb {
        admin::config::run(&global, &below.verb)?;
        return Ok(0);
    }
    if !matches!(verb, Verb::Spec(_) | Verb::Features) {
        privilege::root_of_the_host()?;
    }
    if let Verb::Doctor(args) = &verb {
        // `doctor` also reports a configuration that cannot be read.
        return admin::doctor::doctor(&global, args);
    }
    let config = Config::load(&global.config)?;
    if verb.container().is_some() {
        let name = verb.name();
        let _whole = whole(name);
        let done = of_a_container(&global, &config, verb);
        if done.is_err() {
            let step = Step::Failed(name.to_owned());
            starts::note(&config.pool.run_dir, step, began(), "-".to_owned());
        }
        return done;
    }
    match verb {
        Verb::List(args) => list::list(&global, &config, &args)?,
        Verb::Spec(args) => spec::write(&args.bundle)?,
        Verb::Features => return features::print(&global, &config),
        Verb::Pool(below) => admin::pool::run(&config, below.verb)?,
        Verb::Status { json } => admin::status::status(&config.bases()?, json)?,
        Verb::Top(args) => admin::top::top(&config.bases()?, &args)?,
        Verb::Metrics(args) => admin::metrics::metrics(&config.bases()?, &args)?,
        Verb::Gc(args) => admin::gc::collect(&config.bases()?, &args)?,
        Verb::Install(args) => admin::install::install(&config, &args)?,
        Verb::Uninstall(args) => admin::install::uninstall(&config, &args)?,
        Verb::Image(below) => admin::image::run(&config.bases()?, below.verb)?,
        // The other verbs name a container.
        _ => {}
    }
    Ok(0)
}

/// The verbs that name a container: three make one, the others are about one that exists, on the engine that made it.
fn of_a_container(global: &Global, config: &Config, verb: Verb) -> Result<u8, LifecycleError> {
    match &verb {
        Verb::Create(args) => return create::create(global, config, &verb, args),
        Verb::Run(args) => return create::run(global, config, &verb, args),
        Verb::Restore(args) => return checkpoint::restore(global, config, &verb, args),
        _ => {}
    }
    let container = Container::named(global, verb.container().unwrap_or_default(), config)?;
    match (verb, container.engine()) {
        (Verb::Delete(args), _) => delete::delete(&container, &args),
        (Verb::Pause(_), _) if container.has_private_rootfs() => container.pause(),
        (verb, Engine::Embedded(embedded)) => embedded_verb(&container, embedded, verb),
        (verb, Engine::Delegate(delegate)) => delegated::run(&container, delegate, verb),
    }
}

fn embedded_verb(
    container: &Container,
    embedded: &Embedded,
    verb: Verb,
) -> Result<u8, LifecycleError> {
    match verb {
        Verb::Start(_) => start::start(container, embedded),
        Verb::State(_) => state::print(container, embedded),
        Verb::Kill(args) => kill::kill(container, embedded, &args),
        Verb::Exec(args) => exec::exec(container, embedded, *args),
        Verb::Ps(args) => ps::ps(embedded, &args),
        Verb::Pause(_) => container.pause(),
        Verb::Resume(_) => container.resume(embedded).map(|()| 0),
        Verb::Update(args) => update::update(container, embedded, &args),
        Verb::Events(args) => events::events(embedded, &args),
        Verb::Checkpoint(_) => checkpoint::refuse(container, &verb),
        // The other verbs make a container, or are not about a container.
        _ => Ok(0),
    }
}
