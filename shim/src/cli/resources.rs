//! The command lines about limits and figures.

use std::path::PathBuf;

use clap::Args;

// `update`
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
    #[arg(long = "cpu-share", alias = "cpu-shares")]
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
    /// Only with the engines runc and crun.
    #[command(flatten)]
    pub further: Further,
    /// Container ID
    pub id: String,
}

// Limits that the embedded engine does not know.
#[derive(Debug, Default, PartialEq, Eq, Args)]
pub struct Further {
    /// Microseconds of a period of the real-time scheduler; not with the embedded engine
    #[arg(long)]
    pub cpu_rt_period: Option<u64>,
    /// Microseconds of it; not with the embedded engine
    #[arg(long, allow_hyphen_values = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// Microseconds above the quota; only with the engine runc
    #[arg(long)]
    pub cpu_burst: Option<u64>,
    /// 1 for the scheduler's idle class; only with the engine runc
    #[arg(long, allow_hyphen_values = true)]
    pub cpu_idle: Option<i64>,
    /// Intel RDT's L3 cache schema; not with the embedded engine
    #[arg(long)]
    pub l3_cache_schema: Option<String>,
    /// Intel RDT's memory bandwidth schema; not with the embedded engine
    #[arg(long)]
    pub mem_bw_schema: Option<String>,
}

// `events`
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
