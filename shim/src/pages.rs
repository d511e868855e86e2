//! The man pages and the shells' completions of the command line, for packages (`hack/package`).
//!
//! A feature and a program of their own: the runtime starts with every command of a container, and nothing of this is
//! to be in it.

use std::fs;
use std::io::{self, Error, ErrorKind};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;

/// Writes a page for the program and one for each verb, as `sharedroot-pool-grow.1`, and the completions of bash, zsh
/// and fish, under the names that clap gives them, into the directory `dir`, which is made.
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
/// As there; another number of arguments.
pub fn run() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(dir), None) => write(Path::new(&dir)),
        _ => Err(Error::new(ErrorKind::InvalidInput, "usage: sharedroot-pages DIRECTORY")),
    }
}

/// The whole command line, the flags of its verbs too, which are added late (`defer`).
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
