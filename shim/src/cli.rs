//! The command line, with runc's spelling of every verb and flag.

mod pool;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use pool::{Pool, PoolCreate, PoolGrow};

/// An OCI runtime whose read-only containers share one file system per image.
#[derive(Debug, Parser)]
#[command(name = "sharedroot", version, propagate_version = false, max_term_width = 100)]
pub struct Cli {
    /// Flags before the verb.
    #[command(flatten)]
    pub global: Global,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

impl Cli {
    /// Whether the verb lets this process into a container.
    #[must_use]
    pub fn enters_a_container(&self) -> bool {
        matches!(self.verb, Verb::Create(_) | Verb::Run(_) | Verb::Exec(_))
    }
}

/// Flags before the verb.
#[derive(Debug, Args)]
pub struct Global {
    /// Directory of container state
    #[arg(long, default_value = "/run/sharedroot/state")]
    pub root: PathBuf,
    /// File that errors are appended to
    #[arg(long)]
    pub log: Option<PathBuf>,
    /// Format of the log file
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// Log what is done, not only what goes wrong
    #[arg(long)]
    pub debug: bool,
    /// Let systemd manage the cgroups
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Accepted for runc's callers; only "auto" and "false" are served
    #[arg(long, value_parser = ["auto", "false"])]
    pub rootless: Option<String>,
    /// The configuration file
    #[arg(long, default_value = "/etc/sharedroot/config.toml")]
    pub config: PathBuf,
}

/// How lines of the log file look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line, runc's keys.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create a container and leave it waiting for `start`
    Create(Create),
    /// Run the process of a created container
    Start(Id),
    /// Create, start, wait, delete
    Run(Run),
    /// Print a container's state as JSON
    State(Id),
    /// Send a signal to the init process
    Kill(Kill),
    /// Remove a stopped container and everything that `create` made
    Delete(Delete),
    /// Run one more process in a container
    Exec(Box<Exec>),
    /// List the processes of a container
    Ps(Ps),
    /// Freeze the processes of a container
    Pause(Id),
    /// Thaw them
    Resume(Id),
    /// Change resource limits
    Update(Box<Update>),
    /// Print resource figures
    Events(Events),
    /// List containers
    List(List),
    /// Write a config.json to start from
    Spec(Spec),
    /// Print what this runtime supports as JSON
    Features,
    /// Not supported by the embedded engine
    Checkpoint(Unsupported),
    /// Not supported by the embedded engine
    Restore(Unsupported),
    /// The thin pool that holds the bases and snapshots
    #[command(subcommand)]
    Pool(Pool),
    /// The bases of images
    #[command(subcommand)]
    Image(Image),
    /// Finish or undo what processes that died have left half-done in the pool
    Gc {
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
        /// Where the pool is not the one that the store knows, go on with the pool as it is: delete thin IDs that no
        /// volume owns, forget volumes that the pool has lost
        #[arg(long)]
        force: bool,
    },
}

/// A verb with nothing but an ID.
#[derive(Debug, Args)]
pub struct Id {
    /// Container ID
    pub id: String,
}

/// What `create` and `run` have in common.
#[derive(Debug, Args)]
pub struct Create {
    /// The bundle directory
    #[arg(short, long, default_value = ".")]
    pub bundle: PathBuf,
    /// Unix socket that receives the terminal
    #[arg(long)]
    pub console_socket: Option<PathBuf>,
    /// File that receives the process ID
    #[arg(long)]
    pub pid_file: Option<PathBuf>,
    /// Further descriptors to pass, from 3 on
    #[arg(long, default_value_t = 0)]
    pub preserve_fds: i32,
    /// Enter the root with MS_MOVE and chroot
    #[arg(long)]
    pub no_pivot: bool,
    /// Stay in the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Container ID
    pub id: String,
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    /// As `create`.
    #[command(flatten)]
    pub create: Create,
    /// Return when the process runs
    #[arg(short, long)]
    pub detach: bool,
    /// Keep the container after its end
    #[arg(long)]
    pub keep: bool,
}

/// `kill`
#[derive(Debug, Args)]
pub struct Kill {
    /// All processes of the container
    #[arg(short, long)]
    pub all: bool,
    /// Container ID
    pub id: String,
    /// Name or number
    #[arg(default_value = "TERM")]
    pub signal: String,
}

/// `delete`
#[derive(Debug, Args)]
pub struct Delete {
    /// Kill it if it runs; that it does not exist is no error
    #[arg(short, long)]
    pub force: bool,
    /// Container ID
    pub id: String,
}

/// `exec`
#[derive(Debug, Args)]
pub struct Exec {
    /// File with the process in OCI form
    #[arg(short, long)]
    pub process: Option<PathBuf>,
    /// Return when the process runs
    #[arg(short, long)]
    pub detach: bool,
    /// File that receives the process ID
    #[arg(long)]
    pub pid_file: Option<PathBuf>,
    /// Unix socket that receives the terminal
    #[arg(long)]
    pub console_socket: Option<PathBuf>,
    /// Working directory
    #[arg(long)]
    pub cwd: Option<PathBuf>,
    /// NAME=VALUE
    #[arg(short, long)]
    pub env: Vec<String>,
    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// UID[:GID]
    #[arg(short, long)]
    pub user: Option<String>,
    /// Further group IDs
    #[arg(short = 'g', long)]
    pub additional_gids: Vec<u32>,
    /// SELinux label of the process
    #[arg(long)]
    pub process_label: Option<String>,
    /// AppArmor profile of the process
    #[arg(long)]
    pub apparmor: Option<String>,
    /// No privileges by execve
    #[arg(long)]
    pub no_new_privs: bool,
    /// Further capabilities
    #[arg(short, long)]
    pub cap: Vec<String>,
    /// Further descriptors to pass, from 3 on
    #[arg(long, default_value_t = 0)]
    pub preserve_fds: i32,
    /// Also in a paused container
    #[arg(long)]
    pub ignore_paused: bool,
    /// A cgroup below the container's own, which must exist (cgroup v2)
    #[arg(long)]
    pub cgroup: Option<String>,
    /// Container ID
    pub id: String,
    /// The command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// `ps`
#[derive(Debug, Args)]
pub struct Ps {
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    pub format: Format,
    /// Container ID
    pub id: String,
    /// Options for ps(1), `-ef` if none
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub ps_options: Vec<String>,
}

/// `update`
#[derive(Debug, Args)]
pub struct Update {
    /// File with LinuxResources as JSON, `-` for standard input
    #[arg(short, long)]
    pub resources: Option<PathBuf>,
    /// Memory limit in bytes
    #[arg(long, allow_hyphen_values = true)]
    pub memory: Option<i64>,
    /// Soft memory limit in bytes
    #[arg(long, allow_hyphen_values = true)]
    pub memory_reservation: Option<i64>,
    /// Memory and swap in bytes, -1 for no limit
    #[arg(long, allow_hyphen_values = true)]
    pub memory_swap: Option<i64>,
    /// Relative weight
    #[arg(long)]
    pub cpu_shares: Option<u64>,
    /// Microseconds of a period
    #[arg(long, allow_hyphen_values = true)]
    pub cpu_quota: Option<i64>,
    /// Microseconds
    #[arg(long)]
    pub cpu_period: Option<u64>,
    /// CPUs
    #[arg(long)]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long)]
    pub cpuset_mems: Option<String>,
    /// Number of processes, -1 for no limit
    #[arg(long, allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    /// Relative weight
    #[arg(long)]
    pub blkio_weight: Option<u16>,
    /// Container ID
    pub id: String,
}

/// `events`
#[derive(Debug, Args)]
pub struct Events {
    /// Print once and end
    #[arg(long)]
    pub stats: bool,
    /// Seconds between two prints, with or without the unit `s`
    #[arg(long, default_value = "5s")]
    pub interval: String,
    /// Container ID
    pub id: String,
}

/// `list`
#[derive(Debug, Args)]
pub struct List {
    /// Output format
    #[arg(short, long, value_enum, default_value = "table")]
    pub format: Format,
    /// IDs only
    #[arg(short, long)]
    pub quiet: bool,
}

/// `spec`
#[derive(Debug, Args)]
pub struct Spec {
    /// The bundle directory
    #[arg(short, long, default_value = ".")]
    pub bundle: PathBuf,
}

/// A verb that is refused, whatever follows.
#[derive(Debug, Args)]
pub struct Unsupported {
    /// Ignored
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub rest: Vec<String>,
}

/// `image`
#[derive(Debug, Subcommand)]
pub enum Image {
    /// List the bases
    List {
        /// For programs
        #[arg(long)]
        json: bool,
    },
    /// Delete a base that no container uses; the image's next container makes it anew
    Rm {
        /// The key, or the beginning that `image list` shows
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_captured_command_line_parses() {
        let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
        let mut seen = 0;
        for folder in std::fs::read_dir(fixtures).unwrap() {
            for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_none_or(|e| e != "argv") {
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let line = text.lines().next().unwrap().strip_prefix("argv: RUNTIME").unwrap();
                // One capture shows where Docker puts "runtimeArgs", with an argument of no
                // runtime's.
                let words = line.split_whitespace().filter(|w| *w != "--debug-arg-example=1");
                let cli = Cli::try_parse_from(["sharedroot"].into_iter().chain(words));
                assert!(cli.is_ok(), "{}: {}", path.display(), cli.unwrap_err());
                seen += 1;
            }
        }
        assert!(seen >= 40, "{seen} captured command lines");
    }

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
