//! Our command line in the words of another runtime.
//!
//! Every value is joined to its flag and the container ID stands behind `--`, so that nothing a
//! caller gives can become a flag of the delegate.

use std::ffi::{OsStr, OsString};

use crate::cli::{
    Checkpoint, Create, Criu, Delete, Exec, Global, Kill, LogFormat, Ps, Restore, Run, Update, Verb,
};
use crate::engine::choice::Dialect;

/// A command line in the making.
#[derive(Debug)]
pub struct Words {
    dialect: Dialect,
    words: Vec<OsString>,
    unknown: Option<&'static str>,
}

impl Words {
    fn new(dialect: Dialect, verb: &str) -> Self {
        Self { dialect, words: vec![verb.into()], unknown: None }
    }

    fn flag(mut self, name: &'static str, given: bool) -> Self {
        if given {
            self.words.push(name.into());
        }
        self
    }

    fn value(mut self, name: &'static str, value: Option<impl AsRef<OsStr>>) -> Self {
        if let Some(value) = value {
            let mut word = OsString::from(name);
            word.push("=");
            word.push(value);
            self.words.push(word);
        }
        self
    }

    fn number(self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.value(name, value.map(|number| number.to_string()))
    }

    fn values<T: AsRef<OsStr>>(self, name: &'static str, values: &[T]) -> Self {
        values.iter().fold(self, |words, value| words.value(name, Some(value)))
    }

    /// Notes a flag that crun does not have.
    fn only_runc(mut self, name: &'static str, given: bool) -> Self {
        if given && self.dialect == Dialect::Crun {
            self.unknown = self.unknown.or(Some(name));
        }
        self
    }

    fn id(mut self, id: &str) -> Self {
        self.words.extend(["--".into(), id.into()]);
        self
    }

    fn rest<T: AsRef<OsStr>>(mut self, rest: &[T]) -> Self {
        self.words.extend(rest.iter().map(|word| word.as_ref().to_owned()));
        self
    }
}

/// The flags before the verb, the state directory of the delegate among them.
pub fn global(global: &Global, state: &OsStr) -> Vec<OsString> {
    let format = match global.log_format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    Words { dialect: Dialect::Runc, words: Vec::new(), unknown: None }
        .value("--root", Some(state))
        .value("--log", global.log.as_ref())
        .value("--log-format", Some(format))
        .flag("--debug", global.debug)
        .flag("--systemd-cgroup", global.systemd_cgroup)
        .value("--rootless", global.rootless.as_ref())
        .words
}

/// The verb and everything after it.
///
/// # Errors
/// The verb or flag that the dialect does not have.
pub fn of(dialect: Dialect, verb: &Verb) -> Result<Vec<OsString>, &'static str> {
    let new = |verb| Words::new(dialect, verb);
    let words = match verb {
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
        Verb::List(_) | Verb::Spec(_) => return Err("a verb of sharedroot's own"),
        Verb::Pool(_)
        | Verb::Image(_)
        | Verb::Status { .. }
        | Verb::Top(_)
        | Verb::Gc { .. }
        | Verb::Doctor(_) => return Err("a verb of sharedroot's own"),
    };
    words.unknown.map_or(Ok(words.words), Err)
}

fn create(words: Words, args: &Create) -> Words {
    words
        .value("--bundle", Some(&args.bundle))
        .value("--console-socket", args.console_socket.as_ref())
        .value("--pid-file", args.pid_file.as_ref())
        .number("--preserve-fds", (args.preserve_fds != 0).then_some(args.preserve_fds))
        .flag("--no-pivot", args.no_pivot)
        .flag("--no-new-keyring", args.no_new_keyring)
}

fn run(words: Words, args: &Run) -> Words {
    create(words, &args.create)
        .flag("--detach", args.detach)
        .flag("--keep", args.keep)
        .id(&args.create.id)
}

fn kill(words: Words, args: &Kill) -> Words {
    words.flag("--all", args.all).id(&args.id).rest(&[&args.signal])
}

fn delete(words: Words, args: &Delete) -> Words {
    words.flag("--force", args.force).id(&args.id)
}

fn exec(words: Words, args: &Exec) -> Words {
    let gids: Vec<_> = args.additional_gids.iter().map(u32::to_string).collect();
    words
        .value("--process", args.process.as_ref())
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

fn ps(words: Words, args: &Ps) -> Words {
    words
        .value("--format", Some(args.format.name()))
        .only_runc("options for ps(1)", !args.ps_options.is_empty())
        .id(&args.id)
        .rest(&args.ps_options)
}

fn update(words: Words, args: &Update) -> Words {
    words
        .value("--resources", args.resources.as_ref())
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

fn criu(words: Words, args: &Criu) -> Words {
    words
        .value("--image-path", args.image_path.as_ref())
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

fn checkpoint(words: Words, args: &Checkpoint) -> Words {
    criu(words, &args.criu)
        .value("--parent-path", args.parent_path.as_ref())
        .flag("--leave-running", args.leave_running)
        .flag("--pre-dump", args.pre_dump)
        .number("--status-fd", args.status_fd)
        .only_runc("--status-fd", args.status_fd.is_some())
        .value("--page-server", args.page_server.as_ref())
        .only_runc("--page-server", args.page_server.is_some())
        .id(&args.id)
}

fn restore(words: Words, args: &Restore) -> Words {
    criu(words, &args.criu)
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
#[path = "words_tests.rs"]
mod tests;
