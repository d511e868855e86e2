//! The command lines about the processes of a container.

use std::path::PathBuf;

use clap::Args;

use super::Format;

// `exec`
#[derive(Debug, Default, Args)]
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
    /// A cgroup below the container's own, which must exist; the embedded engine knows cgroup v2's
    #[arg(long)]
    pub cgroup: Vec<String>,
    /// Also in a paused container
    #[arg(long)]
    pub ignore_paused: bool,
    /// Container ID
    pub id: String,
    /// The command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

// `ps`
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
