//! The command lines of CRIU: `checkpoint` and `restore`, for the engines that have them.

use std::path::PathBuf;

use clap::Args;

// What `checkpoint` and `restore` have in common.
#[derive(Debug, Args)]
pub struct Criu {
    /// Directory of CRIU's image files
    #[arg(long, value_name = "DIR")]
    pub image_path: Option<PathBuf>,
    /// Directory of CRIU's working files and logs
    #[arg(long, value_name = "DIR")]
    pub work_path: Option<PathBuf>,
    /// Allow open TCP connections
    #[arg(long)]
    pub tcp_established: bool,
    /// Allow external Unix sockets
    #[arg(long)]
    pub ext_unix_sk: bool,
    /// Allow shell jobs
    #[arg(long)]
    pub shell_job: bool,
    /// Handle file locks
    #[arg(long)]
    pub file_locks: bool,
    /// What becomes of cgroups: soft, full, strict or ignore
    #[arg(long, value_name = "MODE")]
    pub manage_cgroups_mode: Option<String>,
    /// Namespaces whose properties are left out
    #[arg(long, value_name = "NAMESPACE")]
    pub empty_ns: Vec<String>,
    /// Deduplicate memory images
    #[arg(long)]
    pub auto_dedup: bool,
    /// Restore memory pages when they are used
    #[arg(long)]
    pub lazy_pages: bool,
}

// `checkpoint`
#[derive(Debug, Args)]
pub struct Checkpoint {
    /// CRIU's.
    #[command(flatten)]
    pub criu: Criu,
    /// Directory of the images of the last --pre-dump
    #[arg(long, value_name = "DIR")]
    pub parent_path: Option<PathBuf>,
    /// Let the container go on
    #[arg(long)]
    pub leave_running: bool,
    /// Only the memory; the container goes on
    #[arg(long)]
    pub pre_dump: bool,
    /// Descriptor that is written to when --lazy-pages is ready
    #[arg(long, value_name = "FD")]
    pub status_fd: Option<i32>,
    /// The page server
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub page_server: Option<String>,
    /// Container ID
    pub id: String,
}

// `restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// CRIU's.
    #[command(flatten)]
    pub criu: Criu,
    /// The bundle directory
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    pub bundle: PathBuf,
    /// Unix socket that receives the terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// File that receives the process ID
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Return when the process runs
    #[arg(short, long)]
    pub detach: bool,
    /// Enter the root with MS_MOVE and chroot
    #[arg(long)]
    pub no_pivot: bool,
    /// Profile of the security module
    #[arg(long, value_name = "TYPE:NAME")]
    pub lsm_profile: Option<String>,
    /// Label of the mounts
    #[arg(long, value_name = "LABEL")]
    pub lsm_mount_context: Option<String>,
    /// Container ID
    pub id: String,
}
