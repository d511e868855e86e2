//! `hack/lab run`: runs a script in a fresh guest. The script's streams and exit code are those of the command.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::directory::{Boot, SLOT};
use super::guest::{End, Guest};
use super::options::GuestOptions;

/// The program that `hack/build` makes without `--release`.
pub const PROGRAM: &str = "target/debug/static/sharedroot";

/// Exit code: the script's; 123: the script asked for a power cut; 124: the guest reached its limit; 125: the guest's kernel
/// broke.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub guest: GuestOptions,
    /// Keep the disks in DIR, and use them again if they exist (docs/lab.md); without it all disks are fresh
    #[arg(long, value_name = "DIR")]
    disks: Option<PathBuf>,
    /// Show DIR at /share in the guest, read-write; it is SCRIPT's working directory
    #[arg(long, value_name = "DIR")]
    share: Option<PathBuf>,
    /// End the guest after SECONDS
    #[arg(long, default_value = "600", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Put FILE at /usr/local/bin/sharedroot in the guest; "none" for a guest without it
    #[arg(long, default_value = PROGRAM, value_name = "FILE")]
    program: PathBuf,
    /// Use this disk for /var/lib/docker instead of the lab's images
    #[arg(long, value_name = "FILE")]
    docker_disk: Option<PathBuf>,
    /// SCRIPT and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "SCRIPT")]
    script: Vec<String>,
}

/// The caller's slot, or a random slot.
fn slot() -> Result<usize> {
    match std::env::var(SLOT) {
        Ok(slot) => slot.parse().with_context(|| format!("{SLOT}={slot}")),
        Err(_) => Ok(std::process::id() as usize),
    }
}

/// Runs the script, and returns the exit code.
pub fn run(options: &Run) -> Result<ExitCode> {
    let (script, arguments) = options.script.split_first().expect("clap requires one");
    for dir in [&options.disks, &options.share].into_iter().flatten() {
        ensure!(dir.is_dir(), "lab: no such directory: {}", dir.display());
    }
    let mut guest = Guest::boot(&Boot {
        options: &options.guest,
        script: script.as_ref(),
        arguments,
        share: options.share.as_deref(),
        disks: options.disks.as_deref(),
        docker_disk: options.docker_disk.as_deref(),
        program: Some(&*options.program).filter(|path| *path != "none"),
        limit: Duration::from_secs(options.limit),
        slot: slot()?,
    })?;
    let end = guest.relay(io::stdout(), io::stderr())?;
    match &end {
        End::Status(0) | End::PowerCut => std::fs::remove_file(guest.log())?,
        End::Status(_) => {}
        End::Limit => eprintln!(
            "lab: the guest reached the limit of {} s, and its kernel is well: what ran in it did not end",
            options.limit
        ),
        End::Broken(why) => eprintln!("lab: the guest broke: {why}"),
    }
    match &end {
        End::PowerCut => eprintln!("lab: the power was cut"),
        End::Status(0) => {}
        _ => eprintln!("lab: console of the guest: {}", guest.log().display()),
    }
    Ok(ExitCode::from(end.code()))
}
