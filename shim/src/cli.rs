//! The command line, with runc's spelling of every verb and flag.

mod checkpoint;
mod config;
mod doctor;
mod gc;
mod image;
mod install;
mod life;
mod metrics;
mod pool;
mod process;
mod resources;
mod top;

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use checkpoint::{Checkpoint, Criu, Restore};
pub use config::Config;
pub use doctor::Doctor;
pub use gc::Gc;
pub use image::Image;
pub use install::{Edit, Install, Target, Uninstall};
pub use life::{Create, Delete, Format, Id, Kill, List, Run, Spec};
pub use metrics::Metrics;
pub use pool::{Pool, PoolCreate, PoolGrow};
pub use process::{Exec, Ps};
pub use resources::{Events, Further, Update};
pub use top::Top;

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
    /// Parses the command line of this process. Ends the process with a message if the command line is wrong or asks for help.
    ///
    /// Unlike [`Parser::parse`], this does not free the description of all verbs: the end of the process frees that at once.
    #[must_use]
    pub fn of_process() -> Self {
        let mut command = ManuallyDrop::new(Self::command());
        let mut matches = match command.try_get_matches_from_mut(std::env::args_os()) {
            Ok(matches) => matches,
            Err(error) => error.exit(),
        };
        match Self::from_arg_matches_mut(&mut matches) {
            Ok(cli) => cli,
            Err(error) => error.format(&mut command).exit(),
        }
    }
}

/// Flags before the verb.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The directory of the containers' state
    #[arg(long, default_value = "/run/sharedroot/state", value_name = "DIR")]
    pub root: PathBuf,
    /// The file to which errors are appended
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// The format of the log file, text or json
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        default_value = "text",
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
    /// Log each step, not only errors
    #[arg(long)]
    pub debug: bool,
    /// Let systemd manage the cgroups
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// The engine of new containers: libcontainer, crun, runc or an absolute path. This flag precedes SHAREDROOT_ENGINE
    /// in the environment and `engine` in the configuration
    #[arg(long, value_name = "ENGINE")]
    pub engine: Option<OsString>,
    /// Accepted for callers of runc; the only values are "auto" and "false"
    #[arg(long, value_parser = ["auto", "false"], hide_possible_values = true, value_name = "VALUE")]
    pub rootless: Option<String>,
    /// The configuration file
    #[arg(long, default_value = "/etc/sharedroot/config.toml", value_name = "FILE")]
    pub config: PathBuf,
}

/// The form of the lines of the log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line, with runc's keys.
    Json,
}

/// The verb.
// Each command about a container starts this program, and needs the flags of one verb only.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Verb {
    /// Create a container and leave it waiting for `start`
    Create(Create),
    /// Run the process of a created container
    Start(Id),
    /// Create and start a container, wait for its end, delete it
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
    /// Thaw the processes of a container
    Resume(Id),
    /// Change resource limits
    Update(Box<Update>),
    /// Print resource figures
    Events(Events),
    /// List containers
    List(List),
    /// Write a config.json as an example
    Spec(Spec),
    /// Print what this runtime supports as JSON
    Features,
    /// Save a container of the engine runc or crun with CRIU
    Checkpoint(Box<Checkpoint>),
    /// Create a container of the engine runc or crun from the files of `checkpoint`
    Restore(Box<Restore>),
    /// The thin pool that holds the bases and snapshots
    Pool(Below<Pool>),
    /// The bases of images
    Image(Below<Image>),
    /// Show the pool, the containers by their rootfs, and the bases with their containers on one screen
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show for each image its containers, how much of it is in memory, and how long starts take
    Top(Top),
    /// Print the host's metrics for Prometheus
    Metrics(Metrics),
    /// The configuration
    Config(Below<Config>),
    /// Add this program to the configuration of Docker, containerd or podman
    Install(Install),
    /// Remove this program from the configuration of Docker, containerd or podman
    Uninstall(Uninstall),
    /// Check kernel, tools, pool, labels and engines, and print a remedy for each problem
    Doctor(Doctor),
    /// Finish or undo the changes of the pool that processes left incomplete when they died
    Gc(Gc),
}

// The verbs below a verb. They are arguments of the verb, because clap defers the arguments of a verb, but not its subcommands.
#[derive(Debug, Args)]
pub struct Below<V: Subcommand> {
    /// The verb.
    #[command(subcommand)]
    pub verb: V,
}

impl Verb {
    /// The verb's name on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Start(_) => "start",
            Self::Run(_) => "run",
            Self::State(_) => "state",
            Self::Kill(_) => "kill",
            Self::Delete(_) => "delete",
            Self::Exec(_) => "exec",
            Self::Ps(_) => "ps",
            Self::Pause(_) => "pause",
            Self::Resume(_) => "resume",
            Self::Update(_) => "update",
            Self::Events(_) => "events",
            Self::List(_) => "list",
            Self::Spec(_) => "spec",
            Self::Features => "features",
            Self::Checkpoint(_) => "checkpoint",
            Self::Restore(_) => "restore",
            Self::Pool(_) => "pool",
            Self::Image(_) => "image",
            Self::Status { .. } => "status",
            Self::Top(_) => "top",
            Self::Metrics(_) => "metrics",
            Self::Config(_) => "config",
            Self::Install(_) => "install",
            Self::Uninstall(_) => "uninstall",
            Self::Doctor(_) => "doctor",
            Self::Gc(_) => "gc",
        }
    }

    /// The exit status if the verb fails. 255 for `exec`, as with runc: callers distinguish the failure of `exec` from
    /// the program's by this status.
    #[must_use]
    pub fn failed(&self) -> u8 {
        if matches!(self, Self::Exec(_)) { 255 } else { 1 }
    }

    /// The ID of the verb's container, if the verb has one.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::Create(args) | Self::Run(Run { create: args, .. }) => Some(&args.id),
            Self::Start(args) | Self::State(args) | Self::Pause(args) | Self::Resume(args) => {
                Some(&args.id)
            }
            Self::Kill(args) => Some(&args.id),
            Self::Delete(args) => Some(&args.id),
            Self::Exec(args) => Some(&args.id),
            Self::Ps(args) => Some(&args.id),
            Self::Update(args) => Some(&args.id),
            Self::Events(args) => Some(&args.id),
            Self::Checkpoint(args) => Some(&args.id),
            Self::Restore(args) => Some(&args.id),
            Self::List(_) | Self::Spec(_) | Self::Features | Self::Pool(_) | Self::Image(_) => None,
            Self::Status { .. } | Self::Top(_) | Self::Metrics(_) | Self::Config(_) => None,
            Self::Doctor(_) | Self::Install(_) | Self::Uninstall(_) | Self::Gc(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
