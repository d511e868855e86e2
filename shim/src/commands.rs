//! From the command line to a verb, and from a verb to its output.

mod embedded;
mod list;
mod process;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use sharedroot_engine::{
    Choice, CreateOptions, Delegate, Dialect, Engine, exec_features, features, seal,
};
use sharedroot_sys::process_start::began;

use crate::admin;
use crate::argv;
use crate::cli::{Cli, Create, Events, Format, Global, Run, Verb};
use crate::config::Config;
use crate::lifecycle::{Container, LifecycleError, Order, choice, tell};
use crate::log::whole;
use crate::output::{self, say};
use crate::privilege;
use crate::starts::{self, Step};

/// Executes the command line. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`], which the caller prints.
pub fn run(cli: Cli) -> Result<u8, LifecycleError> {
    let Cli { global, verb } = cli;
    if let Verb::Config(verb) = &verb {
        admin::config::run(&global, verb)?;
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
    if let Some(id) = verb.container() {
        let name = verb.name();
        let _whole = whole(name);
        let done = match &verb {
            Verb::Create(_) | Verb::Run(_) | Verb::Restore(_) => make(id, &global, &verb, &config),
            _ => {
                Container::named(&global, id, &config).and_then(|container| steer(&container, verb))
            }
        };
        if done.is_err() {
            let step = Step::Failed(name.to_owned());
            starts::note(&config.pool.run_dir, step, began(), "-".to_owned());
        }
        return done;
    }
    match verb {
        Verb::List(args) => list::list(&global, &config, &args)?,
        Verb::Spec(args) => write_spec(&args.bundle)?,
        Verb::Features => match choice(&global, &config)? {
            Choice::Libcontainer => print(&features()),
            Choice::Delegate(program) => {
                let source = exec_features(&program);
                return Err(file_error("execute", &program.path, source));
            }
        },
        Verb::Pool(verb) => admin::pool::run(&config, verb)?,
        Verb::Status { json } => admin::status::status(&config.bases()?, json)?,
        Verb::Top(args) => admin::top::top(&config.bases()?, &args)?,
        Verb::Metrics(args) => admin::metrics::metrics(&config.bases()?, &args)?,
        Verb::Gc(args) => admin::gc::collect(&config.bases()?, &args)?,
        Verb::Install(args) => admin::install::install(&config, &args)?,
        Verb::Uninstall(args) => admin::install::uninstall(&config, &args)?,
        Verb::Image(verb) => admin::image::run(&config.bases()?, verb)?,
        // The other verbs name a container.
        _ => {}
    }
    Ok(0)
}

/// The verbs that make a container, on the engine of new containers.
fn make(id: &str, global: &Global, verb: &Verb, config: &Config) -> Result<u8, LifecycleError> {
    let choice = choice(global, config)?;
    // A delegate itself protects its executable from the container.
    if choice == Choice::Libcontainer && !matches!(verb, Verb::Restore(_)) {
        seal()?;
    }
    let container = Container::named(global, id, config)?;
    let engine = container.engine_of(&choice, global)?;
    let order = |bundle, options| Order { bundle, choice: &choice, verb, options };
    match verb {
        Verb::Create(args) => {
            container.create(&engine, &order(&args.bundle, create_options(global, args, true)))
        }
        Verb::Run(Run { create: args, detach, keep }) => {
            let order = order(&args.bundle, create_options(global, args, *detach));
            container.run(&engine, &order, *keep)
        }
        Verb::Restore(args) => match (container.engine(), engine) {
            // From `checkpoint` to `delete` the root stays as the processes left it.
            (Engine::Delegate(known), _) if container.has_private_rootfs() => {
                tell(format_args!("restore: handed to {}", known.program().display()));
                Ok(known.take_over(&argv::of(known.dialect(), verb))?)
            }
            (_, Engine::Embedded(_)) => {
                Err(LifecycleError::NoCriu { verb: verb.name(), id: container.id().clone() })
            }
            (_, engine) => {
                container.create(&engine, &order(&args.bundle, CreateOptions::default()))
            }
        },
        _ => Ok(0),
    }
}

/// The verbs about an existing container, on the engine that created the container.
fn steer(container: &Container, verb: Verb) -> Result<u8, LifecycleError> {
    match (verb, container.engine()) {
        (Verb::Delete(args), _) => container.delete(args.force),
        (Verb::Pause(_), _) if container.has_private_rootfs() => container.pause(),
        (verb, Engine::Embedded(embedded)) => embedded::steer(container, embedded, verb),
        (verb, Engine::Delegate(delegate)) => delegated(container, delegate, verb),
    }
}

/// A delegate replaces this process, except where crun does less than runc.
fn delegated(container: &Container, delegate: &Delegate, verb: Verb) -> Result<u8, LifecycleError> {
    match (&verb, delegate.dialect()) {
        // With flags alone, crun gives the process less than the container has: no PATH, no no_new_privs.
        (Verb::Exec(args), Dialect::Crun) if args.process.is_none() => {
            if let Some(status) = process::exec_by_file(container, delegate, args)? {
                return Ok(status);
            }
        }
        (Verb::Ps(args), Dialect::Crun) if args.format == Format::Table => {
            if let Some(pids) = delegate.processes()? {
                process::table(&pids, &args.ps_options)?;
                return Ok(0);
            }
        }
        (Verb::Events(args), Dialect::Crun) => {
            if let Some(first) = delegate.event()? {
                let next = || Ok(delegate.event()?);
                return repeat(args, first, next);
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

/// Prints events until there is no next event.
fn repeat(
    args: &Events,
    first: Value,
    mut next: impl FnMut() -> Result<Option<Value>, LifecycleError>,
) -> Result<u8, LifecycleError> {
    let interval = seconds(&args.interval)?;
    say!("{first}");
    while !args.stats && !output::is_lost() {
        std::thread::sleep(interval);
        let Some(event) = next()? else { break };
        say!("{event}");
    }
    Ok(0)
}

fn print(value: &Value) {
    say!("{value:#}");
}

fn create_options(global: &Global, args: &Create, detach: bool) -> CreateOptions {
    CreateOptions {
        pid_file: args.pid_file.clone(),
        console_socket: args.console_socket.clone(),
        preserve_fds: args.preserve_fds,
        no_pivot: args.no_pivot,
        systemd_cgroup: global.systemd_cgroup,
        detach,
        no_new_keyring: args.no_new_keyring,
    }
}

fn write_spec(bundle: &Path) -> Result<(), LifecycleError> {
    let path = bundle.join("config.json");
    let mut spec = json!(Spec::default());
    if let Some(sets) = spec["process"]["capabilities"].as_object_mut() {
        // Inheritable and ambient capabilities are left out: a caller must ask for them (CVE-2022-29162).
        sets.retain(|set, _| set != "inheritable" && set != "ambient");
    }
    let text = format!("{spec:#}\n");
    let mut file = File::create_new(&path).map_err(|source| file_error("create", &path, source))?;
    std::io::Write::write_all(&mut file, text.as_bytes())
        .map_err(|source| file_error("write", &path, source))
}

fn seconds(text: &str) -> Result<Duration, LifecycleError> {
    text.trim_end_matches('s').parse().ok().filter(|n| *n > 0).map(Duration::from_secs).ok_or_else(
        || LifecycleError::Argument {
            flag: "--interval",
            value: text.to_owned(),
            wanted: "give seconds, such as 5s",
        },
    )
}

fn file_error(step: &'static str, path: &Path, source: std::io::Error) -> LifecycleError {
    LifecycleError::File { step, path: path.to_owned(), source }
}

fn read_error(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> LifecycleError {
    let path = path.into();
    move |source| LifecycleError::File { step: "read", path, source }
}
