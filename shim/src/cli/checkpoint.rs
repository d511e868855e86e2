//! The flags of `checkpoint` and `restore`, which use CRIU, for the engines that have these verbs.

use std::path::PathBuf;

use clap::Args;

// The flags that `checkpoint` and `restore` have in common.
#[derive(Debug, Args)]
pub struct Criu {
    /// The directory of CRIU's image files
    #[arg(long, value_name = "DIR")]
    pub image_path: Option<PathBuf>,
    /// The directory of CRIU's working files and logs
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
    /// How cgroups are handled: soft, full, strict or ignore
    #[arg(long, value_name = "MODE")]
    pub manage_cgroups_mode: Option<String>,
    /// The namespaces whose properties are left out
    #[arg(long, value_name = "NAMESPACE")]
    pub empty_ns: Vec<String>,
    /// Deduplicate memory images
    #[arg(long)]
    pub auto_dedup: bool,
    /// Restore a memory page when it is first used
    #[arg(long)]
    pub lazy_pages: bool,
}

// `checkpoint`
#[derive(Debug, Args)]
pub struct Checkpoint {
    /// The flags for CRIU.
    #[command(flatten)]
    pub criu: Criu,
    /// The directory of the images of the last --pre-dump
    #[arg(long, value_name = "DIR")]
    pub parent_path: Option<PathBuf>,
    /// Let the container run on
    #[arg(long)]
    pub leave_running: bool,
    /// Save only the memory; the container runs on
    #[arg(long)]
    pub pre_dump: bool,
    /// The descriptor that gets a byte when --lazy-pages is ready
    #[arg(long, value_name = "FD")]
    pub status_fd: Option<i32>,
    /// The address of the page server
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub page_server: Option<String>,
    /// Container ID
    pub id: String,
}

// `restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// The flags for CRIU.
    #[command(flatten)]
    pub criu: Criu,
    /// The bundle directory
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    pub bundle: PathBuf,
    /// The Unix socket that receives the terminal
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// The file that receives the process ID
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Return when the process runs
    #[arg(short, long)]
    pub detach: bool,
    /// Enter the root with MS_MOVE and chroot
    #[arg(long)]
    pub no_pivot: bool,
    /// The profile of the security module
    #[arg(long, value_name = "TYPE:NAME")]
    pub lsm_profile: Option<String>,
    /// The label of the mounts
    #[arg(long, value_name = "LABEL")]
    pub lsm_mount_context: Option<String>,
    /// Container ID
    pub id: String,
}
