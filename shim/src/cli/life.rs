//! The flags of the verbs that create, start, signal and delete a container.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

// The flags of a verb with an ID only.
#[derive(Debug, Args)]
pub struct Id {
    /// Container ID
    pub id: String,
}

// The flags that `create` and `run` have in common.
#[derive(Debug, Args)]
pub struct Create {
    /// The bundle directory
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    pub bundle: PathBuf,
    /// The Unix socket that receives the terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// The file that receives the process ID
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// The number of further descriptors to pass, from 3 on
    #[arg(long, default_value_t = 0, value_name = "N")]
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

// `run`
#[derive(Debug, Args)]
pub struct Run {
    /// The flags of `create`.
    #[command(flatten)]
    pub create: Create,
    /// Return when the process runs
    #[arg(short, long)]
    pub detach: bool,
    /// Keep the container after its end
    #[arg(long)]
    pub keep: bool,
}

// `kill`
#[derive(Debug, Args)]
pub struct Kill {
    /// Send the signal to all processes of the container
    #[arg(short, long)]
    pub all: bool,
    /// Container ID
    pub id: String,
    /// The signal's name or number
    #[arg(default_value = "TERM")]
    pub signal: String,
}

// `delete`
#[derive(Debug, Args)]
pub struct Delete {
    /// Kill the container if it runs; no error if it does not exist
    #[arg(short, long)]
    pub force: bool,
    /// Container ID
    pub id: String,
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// JSON for programs.
    Json,
}

impl Format {
    /// The form's name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
        }
    }
}

// `list`
#[derive(Debug, Args)]
pub struct List {
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
    /// Print the IDs only
    #[arg(short, long)]
    pub quiet: bool,
}

// `spec`
#[derive(Debug, Args)]
pub struct Spec {
    /// The bundle directory
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    pub bundle: PathBuf,
}
