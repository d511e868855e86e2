//! This program's command line in the flags of another runtime.
//!
//! [`Argv`] ensures that no value of a caller can become a flag of the delegate.

use sharedroot_engine::{Argv, Dialect};

use crate::cli::{
    Checkpoint, Create, Criu, Delete, Exec, Global, Kill, LogFormat, Ps, Restore, Run, Update, Verb,
};

/// The flags before the verb.
#[must_use]
pub fn global(global: &Global) -> Argv {
    let format = match global.log_format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    Argv::before_the_verb()
        .value("--log", global.log.as_ref())
        .value("--log-format", Some(format))
        .flag("--debug", global.debug)
        .flag("--systemd-cgroup", global.systemd_cgroup)
        .value("--rootless", global.rootless.as_ref())
}

/// The verb and everything after it.
#[must_use]
pub fn of(dialect: Dialect, verb: &Verb) -> Argv {
    let new = |verb| Argv::new(dialect, verb);
    match verb {
        Verb::Create(args) => create(new("create"), args).id(&args.id),
        Verb::Run(args) => run(new("run"), args),
        Verb::Start(args) => new("start").id(&args.id),
        Verb::State(args) => new("state").id(&args.id),
        Verb::Pause(args) => new("pause").id(&args.id),
        Verb::Resume(args) => new("resume").id(&args.id),
        Verb::Kill(args) => kill(new("kill"), args),
        Verb::Delete(args) => delete(new("delete"), args),
        Verb::Exec(args) => exec(new("exec"), args),
        Verb::Ps(args) => ps(new("ps"), args),
        Verb::Update(args) => update(new("update"), args),
        Verb::Events(args) => new("events")
            .only_runc("events", true)
            .flag("--stats", args.stats)
            .value("--interval", Some(&args.interval))
            .id(&args.id),
        Verb::Checkpoint(args) => checkpoint(new("checkpoint"), args),
        Verb::Restore(args) => restore(new("restore"), args),
        Verb::Features => new("features"),
        // The other verbs do not name a container.
        _ => new(verb.name()).nowhere("a verb of sharedroot's own"),
    }
}

fn create(argv: Argv, args: &Create) -> Argv {
    argv.value("--bundle", Some(&args.bundle))
        .value("--console-socket", args.console_socket.as_ref())
        .value("--pid-file", args.pid_file.as_ref())
        .number("--preserve-fds", (args.preserve_fds != 0).then_some(args.preserve_fds))
        .flag("--no-pivot", args.no_pivot)
        .flag("--no-new-keyring", args.no_new_keyring)
}

fn run(argv: Argv, args: &Run) -> Argv {
    create(argv, &args.create)
        .flag("--detach", args.detach)
        .flag("--keep", args.keep)
        .id(&args.create.id)
}

fn kill(argv: Argv, args: &Kill) -> Argv {
    argv.flag("--all", args.all).id(&args.id).rest(&[&args.signal])
}

fn delete(argv: Argv, args: &Delete) -> Argv {
    argv.flag("--force", args.force).id(&args.id)
}

fn exec(argv: Argv, args: &Exec) -> Argv {
    let gids: Vec<_> = args.additional_gids.iter().map(u32::to_string).collect();
    argv.value("--process", args.process.as_ref())
        .flag("--detach", args.detach)
        .value("--pid-file", args.pid_file.as_ref())
        .value("--console-socket", args.console_socket.as_ref())
        .value("--cwd", args.cwd.as_ref())
        .values("--env", &args.env)
        .flag("--tty", args.tty)
        .value("--user", args.user.as_ref())
        .values("--additional-gids", &gids)
        .value("--process-label", args.process_label.as_ref())
        .value("--apparmor", args.apparmor.as_ref())
        .flag("--no-new-privs", args.no_new_privs)
        .values("--cap", &args.cap)
        .number("--preserve-fds", (args.preserve_fds != 0).then_some(args.preserve_fds))
        .values("--cgroup", &args.cgroup)
        .flag("--ignore-paused", args.ignore_paused)
        .only_runc("--ignore-paused", args.ignore_paused)
        .id(&args.id)
        .rest(&args.command)
}

fn ps(argv: Argv, args: &Ps) -> Argv {
    argv.value("--format", Some(args.format.name()))
        .only_runc("options for ps(1)", !args.ps_options.is_empty())
        .id(&args.id)
        .rest(&args.ps_options)
}

fn update(argv: Argv, args: &Update) -> Argv {
    argv.value("--resources", args.resources.as_ref())
        .number("--memory", args.memory)
        .number("--memory-reservation", args.memory_reservation)
        .number("--memory-swap", args.memory_swap)
        .number("--cpu-share", args.cpu_shares)
        .number("--cpu-quota", args.cpu_quota)
        .number("--cpu-period", args.cpu_period)
        .value("--cpuset-cpus", args.cpuset_cpus.as_ref())
        .value("--cpuset-mems", args.cpuset_mems.as_ref())
        .number("--pids-limit", args.pids_limit)
        .number("--blkio-weight", args.blkio_weight)
        .number("--cpu-rt-period", args.further.cpu_rt_period)
        .number("--cpu-rt-runtime", args.further.cpu_rt_runtime)
        .number("--cpu-burst", args.further.cpu_burst)
        .only_runc("--cpu-burst", args.further.cpu_burst.is_some())
        .number("--cpu-idle", args.further.cpu_idle)
        .only_runc("--cpu-idle", args.further.cpu_idle.is_some())
        .value("--l3-cache-schema", args.further.l3_cache_schema.as_ref())
        .value("--mem-bw-schema", args.further.mem_bw_schema.as_ref())
        .id(&args.id)
}

fn criu(argv: Argv, args: &Criu) -> Argv {
    argv.value("--image-path", args.image_path.as_ref())
        .value("--work-path", args.work_path.as_ref())
        .flag("--tcp-established", args.tcp_established)
        .flag("--ext-unix-sk", args.ext_unix_sk)
        .flag("--shell-job", args.shell_job)
        .flag("--file-locks", args.file_locks)
        .value("--manage-cgroups-mode", args.manage_cgroups_mode.as_ref())
        .values("--empty-ns", &args.empty_ns)
        .only_runc("--empty-ns", !args.empty_ns.is_empty())
        .flag("--auto-dedup", args.auto_dedup)
        .only_runc("--auto-dedup", args.auto_dedup)
        .flag("--lazy-pages", args.lazy_pages)
        .only_runc("--lazy-pages", args.lazy_pages)
}

fn checkpoint(argv: Argv, args: &Checkpoint) -> Argv {
    criu(argv, &args.criu)
        .value("--parent-path", args.parent_path.as_ref())
        .flag("--leave-running", args.leave_running)
        .flag("--pre-dump", args.pre_dump)
        .number("--status-fd", args.status_fd)
        .only_runc("--status-fd", args.status_fd.is_some())
        .value("--page-server", args.page_server.as_ref())
        .only_runc("--page-server", args.page_server.is_some())
        .id(&args.id)
}

fn restore(argv: Argv, args: &Restore) -> Argv {
    criu(argv, &args.criu)
        .value("--bundle", Some(&args.bundle))
        .value("--console-socket", args.console_socket.as_ref())
        .value("--pid-file", args.pid_file.as_ref())
        .flag("--detach", args.detach)
        .flag("--no-pivot", args.no_pivot)
        .only_runc("--no-pivot", args.no_pivot)
        .value("--lsm-profile", args.lsm_profile.as_ref())
        .value("--lsm-mount-context", args.lsm_mount_context.as_ref())
        .id(&args.id)
}

#[cfg(test)]
#[path = "argv_tests.rs"]
mod tests;
