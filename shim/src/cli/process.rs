//! The command lines about the processes of a container.

use std::path::PathBuf;

use clap::Args;

use super::Format;

// `exec`
#[derive(Debug, Default, Args)]
pub struct Exec {
    /// File with the process in OCI form
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Return when the process runs
    #[arg(short, long)]
    pub detach: bool,
    /// File that receives the process ID
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Unix socket that receives the terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Working directory
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// User and group by their numbers
    #[arg(short, long, value_name = "UID[:GID]")]
    pub user: Option<String>,
    /// Further group IDs
    #[arg(short = 'g', long, value_name = "GID")]
    pub additional_gids: Vec<u32>,
    /// SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// No privileges by execve
    #[arg(long)]
    pub no_new_privs: bool,
    /// Further capabilities
    #[arg(short, long, value_name = "CAP")]
    pub cap: Vec<String>,
    /// Further descriptors to pass, from 3 on
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub preserve_fds: i32,
    /// Cgroup below the container's own; it must exist
    #[arg(long, value_name = "PATH")]
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
    /// How to print, table or json
    #[arg(
        short,
        long,
        value_enum,
        hide_possible_values = true,
        default_value = "table",
        value_name = "FORMAT"
    )]
    pub format: Format,
    /// Container ID
    pub id: String,
    /// Options for ps(1), `-ef` if none
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub ps_options: Vec<String>,
}
