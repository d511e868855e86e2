//! `sharedroot doctor` as an administrator uses it: every line is `ok`, or one line is not, and its remedy is run.

use std::time::Duration;

use crate::census::Census;
use crate::command::{Cmd, Output, out};

/// `sharedroot doctor WORDS…`
#[track_caller]
pub fn doctor(words: &[&str]) -> Output {
    Cmd::new("sharedroot").arg("doctor").args(words).limit(Duration::from_secs(60)).run()
}

/// Checks that every line is `ok`.
#[track_caller]
pub fn is_well() {
    let said = doctor(&[]).ok();
    assert!(said.lines().all(|line| line.starts_with("ok ")), "{said}");
}

/// Checks that exactly one line is not `ok`, and that it is this line. Returns the rest of the line, and its remedy.
#[track_caller]
pub fn one_line(severity: &str, name: &str) -> (String, String) {
    let status = if severity == "problem" { 2 } else { 1 };
    let before = Census::take();
    let said = doctor(&[]).fails(status);
    assert_eq!(Census::take().against(&before), "", "a look changes nothing");
    let bad: Vec<_> = said.lines().filter(|line| !line.starts_with("ok ")).collect();
    assert_eq!(bad.len(), 1, "{said}");
    let rest = bad[0].strip_prefix(severity).unwrap_or_else(|| panic!("no {severity}: {said}"));
    let rest = rest.trim_start().strip_prefix(name).unwrap_or_else(|| panic!("no {name}: {said}"));
    let (found, remedy) = rest.split_once("; remedy: ").unwrap_or_else(|| panic!("{said}"));
    eprintln!("{}", bad[0]);
    (found.trim().to_owned(), remedy.to_owned())
}

/// Runs a remedy, as an administrator pastes it.
#[track_caller]
pub fn paste(remedy: &str) {
    out(&["bash", "-ec", remedy]);
}
