//! An OCI runtime whose read-only containers share one file system per image.
//!
//! This is a program, not a library: `main.rs` calls [`run`]. containerd's shim of this project, which is another program,
//! calls the verbs as functions ([`verbs`]). With the feature `fuzz` the fuzz targets can also call the parsers of outside
//! input. With the feature `pages` packages get the man pages of the command line.

// These macros panic if standard output or error is closed; `output.rs` has those that do not.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod admin;
mod argv;
mod cli;
mod commands;
use sharedroot_config as config;
mod early;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod lifecycle;
mod log;
mod output;
#[cfg(feature = "pages")]
pub mod pages;
mod privilege;
mod record;
mod rootfs;
mod starts;
#[cfg(test)]
mod testing;
pub mod verbs;

use std::process::ExitCode;

use sharedroot_engine::stand_in;
use sharedroot_sys::chain::chain;
use sharedroot_sys::process_start::began;
use sharedroot_sys::say_aside;

/// Executes the command line of this process, and reports errors.
#[must_use]
pub fn run() -> ExitCode {
    began();
    if let Some(failed) = stand_in() {
        return failed;
    }
    early::seal_early();
    let cli = cli::Cli::of_process();
    if let Err(error) = log::start(&cli) {
        say_aside!("sharedroot: open the log file {:?}: {error}", cli.global.log);
        return ExitCode::FAILURE;
    }
    let failed = cli.verb.failed();
    let code = match commands::run(cli) {
        Ok(status) => output::exit_code(status),
        Err(error) => {
            tracing::error!("{}", chain(&error));
            output::exit_code(failed)
        }
    };
    log::deliver();
    code
}
