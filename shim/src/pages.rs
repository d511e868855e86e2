//! The man pages and the shells' completions of the command line, for packages (`hack/package`).
//!
//! This is a feature and a separate program, because the runtime starts with every command of a container and must not contain
//! this code.

use std::fs;
use std::io::{self, Error, ErrorKind};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;

/// Writes a page for the program and a page for each verb, such as `sharedroot-pool-grow.1`, and the completions of bash, zsh
/// and fish, under the names that clap gives them. The function makes the directory `dir` for them.
///
/// # Errors
/// The directory or a file cannot be written; the error names `dir`.
pub fn write(dir: &Path) -> io::Result<()> {
    let named = |e: Error| Error::new(e.kind(), format!("write pages into {}: {e}", dir.display()));
    fs::create_dir_all(dir).map_err(named)?;
    pages(&command(), dir).map_err(named)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command(), "sharedroot", dir).map_err(named)?;
    }
    Ok(())
}

/// Does [`write()`] with the only argument of this process.
///
/// # Errors
/// The errors of [`write()`]; the number of arguments is not one.
pub fn run() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(dir), None) => write(Path::new(&dir)),
        _ => Err(Error::new(ErrorKind::InvalidInput, "usage: sharedroot-pages DIRECTORY")),
    }
}

/// The whole command line, with the flags of its verbs, which clap adds late (`defer`).
fn command() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

fn pages(command: &Command, dir: &Path) -> io::Result<()> {
    for verb in command.get_subcommands() {
        pages(verb, dir)?;
    }
    let version = concat!("sharedroot ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).source(version).manual("sharedroot").generate_to(dir).map(drop)
}
