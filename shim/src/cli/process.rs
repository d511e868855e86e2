//! The flags of the verbs about a container's processes.

use std::path::PathBuf;

use clap::Args;

use super::Format;

// `exec`
#[derive(Debug, Default, Args)]
pub struct Exec {
    /// The file with the process in OCI form
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Return when the process runs
    #[arg(short, long)]
    pub detach: bool,
    /// The file that receives the process ID
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// The Unix socket that receives the terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// The working directory
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// An environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// The IDs of user and group
    #[arg(short, long, value_name = "UID[:GID]")]
    pub user: Option<String>,
    /// Further group IDs
    #[arg(short = 'g', long, value_name = "GID")]
    pub additional_gids: Vec<u32>,
    /// The SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// The AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// The process gets no privileges by execve
    #[arg(long)]
    pub no_new_privs: bool,
    /// Further capabilities
    #[arg(short, long, value_name = "CAP")]
    pub cap: Vec<String>,
    /// The number of further descriptors to pass, from 3 on
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub preserve_fds: i32,
    /// A cgroup below the container's own, which must exist
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<String>,
    /// Run the process also in a paused container
    #[arg(long)]
    pub ignore_paused: bool,
    /// Container ID
    pub id: String,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

// `ps`
#[derive(Debug, Args)]
pub struct Ps {
    /// The form of the output, table or json
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
    /// The options for ps(1), `-ef` without this argument
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub ps_options: Vec<String>,
}
