//! `install` and `uninstall`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

// The flags of `install`.
#[derive(Debug, Args)]
pub struct Install {
    /// The engine whose configuration gets this program as a runtime
    #[arg(value_enum)]
    pub target: Target,
    /// Make this program the runtime of containers that name none, too
    #[arg(long)]
    pub default: bool,
    /// Have containerd's shim of sharedroot run the containers, without a command for each step (docker, containerd)
    #[arg(long)]
    pub shim: bool,
    /// Have sharedroot's snapshotter keep images and roots on the pool, too (docker, containerd; experimental)
    #[arg(long)]
    pub snapshotter: bool,
    /// The configuration file, and whether to change it.
    #[command(flatten)]
    pub edit: Edit,
}

// The flags of `uninstall`.
#[derive(Debug, Args)]
pub struct Uninstall {
    /// The engine from whose configuration this program is removed
    #[arg(value_enum)]
    pub target: Target,
    /// The configuration file, and whether to change it.
    #[command(flatten)]
    pub edit: Edit,
}

// The flags that `install` and `uninstall` have in common.
#[derive(Debug, Args)]
pub struct Edit {
    /// Only show the changes
    #[arg(long)]
    pub dry_run: bool,
    /// The configuration file, if it is not at the usual path
    #[arg(long, value_name = "PATH")]
    pub config_file: Option<PathBuf>,
}

/// The engines that can have this program as a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// /etc/docker/daemon.json
    Docker,
    /// /etc/containerd/config.toml
    Containerd,
    /// /etc/containers/containers.conf
    Podman,
}
