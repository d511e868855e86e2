//! From the command line to a verb, and from a verb to what is printed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::{Process, Spec};
use serde_json::{Value, json};

use crate::admin;
use crate::capabilities;
use crate::cli::{Cli, Create, Exec, Format, Global, Image, List, Ps, Update, Verb};
use crate::config::Config;
use crate::engine::{
    CreateOptions, EngineError, Limits, SpecError, Status, Terminal, event, update,
};
use crate::features;
use crate::forbidden;
use crate::json;
use crate::lifecycle::{Container, LifecycleError};
use crate::rootfs::Storage;

/// Does what the command line says. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`]; nothing has been printed of it yet.
pub fn run(cli: Cli) -> Result<u8, LifecycleError> {
    let global = &cli.global;
    let config = Config::load(&global.config)?;
    let open = |id: &str| Container::named(&global.root, id, &config);
    match cli.verb {
        Verb::Create(args) => {
            open(&args.id)?.create(&args.bundle, &create_options(global, &args, true))?;
        }
        Verb::Run(args) => {
            let options = create_options(global, &args.create, args.detach);
            return open(&args.create.id)?.run(&args.create.bundle, &options, args.keep);
        }
        Verb::Start(args) => open(&args.id)?.engine().start()?,
        Verb::State(args) => print(&state(&open(&args.id)?)?),
        Verb::Kill(args) => open(&args.id)?.engine().kill(&args.signal, args.all)?,
        Verb::Delete(args) => open(&args.id)?.delete(args.force)?,
        Verb::Exec(args) => return exec(&open(&args.id)?, args),
        Verb::Ps(args) => ps(&open(&args.id)?, &args)?,
        Verb::Pause(args) => open(&args.id)?.engine().pause()?,
        Verb::Resume(args) => open(&args.id)?.engine().resume()?,
        Verb::Update(args) => update(open(&args.id)?.engine(), limits(&args)?)?,
        Verb::Events(args) => {
            let container = open(&args.id)?;
            let interval = seconds(&args.interval)?;
            loop {
                println!("{}", event(container.engine())?);
                if args.stats {
                    break;
                }
                std::thread::sleep(interval);
            }
        }
        Verb::List(args) => list(&global.root, &config, &args)?,
        Verb::Spec(args) => write_spec(&args.bundle)?,
        Verb::Features => print(&features::features()),
        Verb::Checkpoint(_) | Verb::Restore(_) => {
            return Err(SpecError::Unsupported {
                field: "checkpoint and restore".to_owned(),
                value: "CRIU".to_owned(),
                remedy: "use runc or crun for containers that must be checkpointed",
            }
            .into());
        }
        Verb::Pool(verb) => admin::pool::run(&config, verb)?,
        Verb::Gc { dry_run, force } => {
            admin::gc::collect(&Storage::of(&config)?, dry_run, force)?;
        }
        Verb::Image(Image::Rm { key }) => admin::image::remove(&Storage::of(&config)?, &key)?,
        Verb::Image(Image::List { json }) => admin::image::list(&Storage::of(&config)?, json)?,
    }
    Ok(0)
}

fn print(value: &Value) {
    println!("{value:#}");
}

fn create_options(global: &Global, args: &Create, detach: bool) -> CreateOptions {
    CreateOptions {
        pid_file: args.pid_file.clone(),
        console_socket: args.console_socket.clone(),
        preserve_fds: args.preserve_fds,
        no_pivot: args.no_pivot,
        systemd_cgroup: global.systemd_cgroup,
        detach,
    }
}

/// runc's `state`.
fn state(container: &Container) -> Result<Value, LifecycleError> {
    let known = container.engine().load("state")?;
    let record = container.record()?;
    let status = Status::from(known.status());
    let pid = if status == Status::Stopped { 0 } else { known.pid().map_or(0, |p| p.as_raw()) };
    Ok(json!({
        "ociVersion": known.state.oci_version,
        "id": container.engine().id().as_str(),
        "pid": pid,
        "status": status.to_string(),
        "bundle": record.as_ref().map_or_else(|| known.bundle().clone(), |r| r.bundle.clone()),
        "rootfs": record.as_ref().map(|r| r.root_path.clone()),
        "created": known.created(),
        "owner": known.creator().map(|o| o.to_string_lossy().into_owned()).unwrap_or_default(),
        "annotations": known.state.annotations.clone().unwrap_or_default(),
    }))
}

fn list(root: &Path, config: &Config, args: &List) -> Result<(), LifecycleError> {
    let mut states = Vec::new();
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e),
    };
    for entry in entries.map_err(read_error(root))? {
        let Some(id) = entry.file_name().to_str().map(str::to_owned) else { continue };
        // A container may end while the others are listed.
        if let Ok(container) = Container::named(root, &id, config)
            && let Ok(state) = state(&container)
        {
            states.push(state);
        }
    }
    let text = |state: &Value, key: &str| match &state[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match (args.quiet, args.format) {
        (true, _) => states.iter().for_each(|s| println!("{}", text(s, "id"))),
        (false, Format::Json) => println!("{}", Value::Array(states)),
        (false, Format::Table) => {
            println!("{:<66}{:<12}{:<12}{:<32}BUNDLE", "ID", "PID", "STATUS", "CREATED");
            for state in &states {
                let [id, pid, status] = ["id", "pid", "status"].map(|key| text(state, key));
                let [created, bundle] = ["created", "bundle"].map(|key| text(state, key));
                println!("{id:<66}{pid:<12}{status:<12}{created:<32}{bundle}");
            }
        }
    }
    Ok(())
}

fn ps(container: &Container, args: &Ps) -> Result<(), LifecycleError> {
    let pids = container.engine().processes()?;
    if args.format == Format::Json {
        println!("{}", json!(pids));
        return Ok(());
    }
    let default = vec!["-ef".to_owned()];
    let options = if args.ps_options.is_empty() { &default } else { &args.ps_options };
    let output =
        std::process::Command::new("ps").args(options).output().map_err(read_error("ps"))?;
    let table = String::from_utf8_lossy(&output.stdout);
    let mut lines = table.lines();
    let Some(head) = lines.next() else { return Ok(()) };
    println!("{head}");
    let column = head.split_whitespace().position(|word| word == "PID");
    for line in lines {
        let pid = column.and_then(|at| line.split_whitespace().nth(at)?.parse().ok());
        if pid.is_some_and(|pid: i32| pids.contains(&pid)) {
            println!("{line}");
        }
    }
    Ok(())
}

fn limits(args: &Update) -> Result<Limits, LifecycleError> {
    let Some(path) = &args.resources else { return Ok(Limits::from_flags(args)) };
    let text = if path == Path::new("-") {
        json::read(std::io::stdin()).map_err(read_error("standard input"))?
    } else {
        File::open(path).and_then(json::read).map_err(read_error(path))?
    };
    Ok(Limits::parse(path.clone(), &text)?)
}

fn exec(container: &Container, args: Exec) -> Result<u8, LifecycleError> {
    let spec = container.spec()?;
    let process = match &args.process {
        Some(path) => {
            let text = File::open(path).and_then(json::read).map_err(read_error(path))?;
            let process =
                capabilities::parse(&text, "/capabilities").map_err(|e| EngineError::Process {
                    id: container.engine().id().clone(),
                    what: format!("{} is not a process: {e}", path.display()),
                })?;
            forbidden::look_for_nul(&text, "process.", &process).map_err(EngineError::from)?;
            process
        }
        None => process_of_flags(&spec, &args)?,
    };
    forbidden::look_at_process("process.", &process).map_err(EngineError::from)?;
    let terminal = Terminal {
        pid_file: args.pid_file,
        console_socket: args.console_socket,
        preserve_fds: args.preserve_fds,
        detach: args.detach,
        ignore_paused: args.ignore_paused,
    };
    container.exec(&spec, process, &terminal)
}

/// The container's own process with what the flags change, as runc does it.
fn process_of_flags(spec: &Spec, args: &Exec) -> Result<Process, LifecycleError> {
    let mut process = spec.process().clone().unwrap_or_default();
    if args.command.is_empty() {
        return Err(LifecycleError::Argument {
            flag: "exec",
            value: String::new(),
            wanted: "give a command after the container ID, or --process",
        });
    }
    process.set_args(Some(args.command.clone())).set_terminal(Some(args.tty));
    if let Some(cwd) = &args.cwd {
        process.set_cwd(cwd.clone());
    }
    let mut env = process.env().clone().unwrap_or_default();
    env.extend(args.env.iter().cloned());
    process.set_env(Some(env));
    let mut user = process.user().clone();
    if let Some(text) = &args.user {
        let wrong = |_| LifecycleError::Argument {
            flag: "--user",
            value: text.clone(),
            wanted: "give UID or UID:GID as numbers",
        };
        let (uid, gid) = text.split_once(':').map_or((text.as_str(), None), |(u, g)| (u, Some(g)));
        user.set_uid(uid.parse().map_err(wrong)?);
        if let Some(gid) = gid {
            user.set_gid(gid.parse().map_err(wrong)?);
        }
    }
    if !args.additional_gids.is_empty() {
        user.set_additional_gids(Some(args.additional_gids.clone()));
    }
    process.set_user(user);
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if args.apparmor.is_some() {
        process.set_apparmor_profile(args.apparmor.clone());
    }
    if args.process_label.is_some() {
        process.set_selinux_label(args.process_label.clone());
    }
    crate::engine::add_capabilities(&mut process, &args.cap).map_err(|value| {
        LifecycleError::Argument { flag: "--cap", value, wanted: "give a name such as CAP_NET_RAW" }
    })?;
    Ok(process)
}

fn write_spec(bundle: &Path) -> Result<(), LifecycleError> {
    let path = bundle.join("config.json");
    let mut spec = json!(Spec::default());
    if let Some(sets) = spec["process"]["capabilities"].as_object_mut() {
        // Inheritable and ambient capabilities are for those who ask for them (CVE-2022-29162).
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
