//! `install` and `uninstall`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

// `install`
#[derive(Debug, Args)]
pub struct Install {
    /// Whose configuration gets this program as a runtime
    #[arg(value_enum)]
    pub target: Target,
    /// Also make it the runtime of containers that name none
    #[arg(long)]
    pub default: bool,
    /// Which file, and how far.
    #[command(flatten)]
    pub edit: Edit,
}

// `uninstall`
#[derive(Debug, Args)]
pub struct Uninstall {
    /// Whose configuration gets rid of it
    #[arg(value_enum)]
    pub target: Target,
    /// Which file, and how far.
    #[command(flatten)]
    pub edit: Edit,
}

// What both have.
#[derive(Debug, Args)]
pub struct Edit {
    /// Only show what would be changed
    #[arg(long)]
    pub dry_run: bool,
    /// The configuration file, where it is not the usual one
    #[arg(long, value_name = "PATH")]
    pub config_file: Option<PathBuf>,
}

/// Who can have this program as a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// /etc/docker/daemon.json
    Docker,
    /// /etc/containerd/config.toml
    Containerd,
    /// /etc/containers/containers.conf
    Podman,
}
