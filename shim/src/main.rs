//! An OCI runtime whose read-only containers share one file system per image.

mod admin;
mod bundle;
mod cli;
mod commands;
mod config;
mod engine;
mod features;
mod image;
mod label;
mod lifecycle;
mod log;
mod mount;
mod record;
mod rootfs;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    if let Err(error) = log::start(&cli.global) {
        eprintln!("sharedroot: open the log file {:?}: {error}", cli.global.log);
        return ExitCode::FAILURE;
    }
    match commands::run(cli) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            tracing::error!("{}", log::chain(&error));
            ExitCode::FAILURE
        }
    }
}
