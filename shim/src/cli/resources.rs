//! The flags about limits and figures.

use std::path::PathBuf;

use clap::Args;

// `update`
#[derive(Debug, Args)]
pub struct Update {
    /// The file with LinuxResources as JSON, `-` for standard input
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Memory limit in bytes
    #[arg(long, allow_hyphen_values = true, value_name = "BYTES")]
    pub memory: Option<i64>,
    /// Soft memory limit in bytes
    #[arg(long, allow_hyphen_values = true, value_name = "BYTES")]
    pub memory_reservation: Option<i64>,
    /// Memory and swap in bytes, -1 for no limit
    #[arg(long, allow_hyphen_values = true, value_name = "BYTES")]
    pub memory_swap: Option<i64>,
    /// Share of the CPU's time, 2 to 262144
    #[arg(long = "cpu-share", alias = "cpu-shares", value_name = "WEIGHT")]
    pub cpu_shares: Option<u64>,
    /// CPU time of a period
    #[arg(long, allow_hyphen_values = true, value_name = "US")]
    pub cpu_quota: Option<i64>,
    /// Length of the period
    #[arg(long, value_name = "US")]
    pub cpu_period: Option<u64>,
    /// CPUs, as 0-3,7
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, as 0-1
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Number of processes, -1 for no limit
    #[arg(long, allow_hyphen_values = true, value_name = "N")]
    pub pids_limit: Option<i64>,
    /// Share of block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Limits that only the engines runc and crun support.
    #[command(flatten)]
    pub further: Further,
    /// Container ID
    pub id: String,
}

// Limits that the embedded engine does not support.
#[derive(Debug, Default, PartialEq, Eq, Args)]
pub struct Further {
    /// Period of the real-time scheduler; not with the embedded engine
    #[arg(long, value_name = "US")]
    pub cpu_rt_period: Option<u64>,
    /// Real-time CPU time of a period; not with the embedded engine
    #[arg(long, allow_hyphen_values = true, value_name = "US")]
    pub cpu_rt_runtime: Option<i64>,
    /// CPU time above the quota; only with the engine runc
    #[arg(long, value_name = "US")]
    pub cpu_burst: Option<u64>,
    /// 1 for the scheduler's idle class; only with the engine runc
    #[arg(long, allow_hyphen_values = true, value_name = "0|1")]
    pub cpu_idle: Option<i64>,
    /// The schema of Intel RDT's L3 cache; not with the embedded engine
    #[arg(long, value_name = "TEXT")]
    pub l3_cache_schema: Option<String>,
    /// The schema of Intel RDT's memory bandwidth; not with the embedded engine
    #[arg(long, value_name = "TEXT")]
    pub mem_bw_schema: Option<String>,
}

// `events`
#[derive(Debug, Args)]
pub struct Events {
    /// Print the figures once and end
    #[arg(long)]
    pub stats: bool,
    /// The time between two prints, as 5s
    #[arg(long, default_value = "5s", value_name = "SECONDS")]
    pub interval: String,
    /// Container ID
    pub id: String,
}
