//! What becomes of a command when nobody reads what it prints. `features` stands for all: they print by the same means, and
//! clippy refuses any other (see `src/output.rs`).

use std::fs::File;
use std::io::pipe;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;

/// Needs no privilege, and asks no other engine of the host.
const FEATURES: [&str; 3] = ["--engine", "libcontainer", "features"];

/// A command with these streams.
fn sharedroot(words: &[&str], stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sharedroot"))
        .args(words)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .expect("run sharedroot")
}

/// The end of a pipe that nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = pipe().expect("make a pipe");
    drop(reader);
    writer.into()
}

#[test]
fn a_reader_that_has_gone_ends_a_command_quietly() {
    let fine = sharedroot(&FEATURES, Stdio::piped(), Stdio::piped());
    assert!(fine.status.success() && fine.stdout.starts_with(b"{"), "{fine:?}");
    let unheard = sharedroot(&FEATURES, unread(), Stdio::piped());
    assert_eq!(unheard.status.code(), Some(128 + Signal::SIGPIPE as i32), "{unheard:?}");
    assert!(unheard.stderr.is_empty(), "{unheard:?}");
}

#[test]
fn what_could_not_be_written_is_an_error() {
    let full = File::options().write(true).open("/dev/full").expect("open /dev/full");
    let failed = sharedroot(&FEATURES, full, Stdio::piped());
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(said.contains("write standard output: No space left"), "{said}");
}

/// Where nobody reads standard error, a failure is still reported by the exit status, and there is no panic.
#[test]
fn an_error_is_one_also_where_nobody_reads_it() {
    let words = ["--config", "/dev/full/none", "features"];
    let failed = sharedroot(&words, Stdio::piped(), Stdio::piped());
    assert!(failed.status.code() == Some(1) && !failed.stderr.is_empty(), "{failed:?}");
    let unheard = sharedroot(&words, unread(), unread());
    assert_eq!(unheard.status.code(), Some(1), "{unheard:?}");
}
