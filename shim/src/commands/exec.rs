//! `exec`: one more process in a container.

use std::fs::File;

use oci_spec::runtime::{Process, Spec};
use sharedroot_engine::{
    Delegate, Embedded, EngineError, Tenant, Terminal, add_capabilities, hold, parse_process,
    read_config, seal,
};
use sharedroot_format::json;
use sharedroot_sys::step::step;

use super::file_error::read_error;
use crate::argv;
use crate::cli::{Exec, Verb};
use crate::lifecycle::{Container, LifecycleError, tell};

/// `exec` on the embedded engine. Returns the exit status, 0 when detached.
///
/// # Errors
/// [`LifecycleError`].
pub fn exec(container: &Container, embedded: &Embedded, args: Exec) -> Result<u8, LifecycleError> {
    seal()?;
    let cgroup = match args.cgroup.as_slice() {
        [] => None,
        [path] if !path.contains(':') => Some(path.clone()),
        paths => {
            return Err(LifecycleError::Argument {
                flag: "exec --cgroup",
                value: paths.join(" "),
                wanted: "give one path of cgroup v2, or create the container with --engine runc",
            });
        }
    };
    let prepares = step("read the container's configuration, complete the process");
    if !embedded.exists() {
        return Err(EngineError::NotFound { id: container.id().clone() }.into());
    }
    let spec = container.spec()?;
    let process = match &args.process {
        Some(path) => {
            let text = File::open(path).and_then(json::read).map_err(read_error(path))?;
            parse_process(container.id(), path, &text)?
        }
        None => process_of_flags(&spec, &args)?,
    };
    let terminal = Terminal {
        pid_file: args.pid_file,
        console_socket: args.console_socket,
        preserve_fds: args.preserve_fds,
        detach: args.detach,
        ignore_paused: args.ignore_paused,
        cgroup,
    };
    let tenant = Tenant::new(&spec, process)?;
    drop(prepares);
    let enters = step("the engine");
    let _held = (!terminal.detach).then(hold).transpose().map_err(|e| container.wrong(e))?;
    let pid = embedded.exec(&spec, &tenant, &terminal)?;
    drop(enters);
    tell(format_args!("exec: process {pid}"));
    if terminal.detach { Ok(0) } else { Ok(container.wait(pid)?) }
}

/// Runs `exec` on a delegate, with a process file that contains what runc would make of the flags. Returns the exit
/// status; `None` if the delegate has no such container.
///
/// # Errors
/// [`LifecycleError`].
pub fn exec_by_file(
    container: &Container,
    delegate: &Delegate,
    args: &Exec,
) -> Result<Option<u8>, LifecycleError> {
    let config = delegate.config();
    if !config.exists() {
        return Ok(None);
    }
    let process = process_of_flags(&read_config(&config)?, args)?;
    let file = container.scratch(&format!("exec-{}.json", std::process::id()), &process)?;
    let verb = Verb::Exec(Box::new(Exec {
        process: Some(file.clone()),
        id: args.id.clone(),
        detach: args.detach,
        pid_file: args.pid_file.clone(),
        console_socket: args.console_socket.clone(),
        preserve_fds: args.preserve_fds,
        cgroup: args.cgroup.clone(),
        ignore_paused: args.ignore_paused,
        ..Exec::default()
    }));
    tell(format_args!("exec: by {}", delegate.program().display()));
    let status = delegate.call(&argv::of(delegate.dialect(), &verb), || {});
    let _ = std::fs::remove_file(file);
    Ok(Some(status?))
}

/// The container's own process with the changes of the flags, as runc computes it.
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
        let mut gids = user.additional_gids().clone().unwrap_or_default();
        gids.extend(&args.additional_gids);
        user.set_additional_gids(Some(gids));
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
    add_capabilities(&mut process, &args.cap).map_err(|value| LifecycleError::Argument {
        flag: "--cap",
        value,
        wanted: "give a name such as CAP_NET_RAW",
    })?;
    Ok(process)
}
