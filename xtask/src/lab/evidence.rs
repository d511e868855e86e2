//! Whether a guest's kernel broke, or the script in the guest failed. The kernel's log and its answers decide, never a second
//! try.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Pid;

use super::console::Console;
use crate::processor_time;

/// The beginnings of log lines of a kernel that found a fault in itself. Daemons write to the same console.
const FAULTS: [&str; 7] = [
    "Kernel panic",
    "BUG: ",
    "Oops",
    "kernel BUG at",
    "Segfault with no mm",
    "Kernel mode fault",
    "userspace - ",
];

/// The kernel of a guest that reached its limit.
#[derive(Debug)]
pub enum Kernel {
    /// The kernel answers, and has found no fault in itself.
    Well,
    /// The kernel broke. The text is the evidence.
    Broken(String),
}

/// The evidence of a guest that ended before its script did.
pub fn of_ended(log: &Path) -> String {
    match fault(log) {
        Some(line) => format!("its kernel said {line:?}"),
        None => "it ended before the script did, without a word of its kernel".to_owned(),
    }
}

/// Asks the kernel of a guest that still runs. Adds the kernel's state and the host's view of the guest to `log`.
pub fn of_running(dir: &Path, log: &Path) -> Kernel {
    let mut found = String::new();
    let answer = ask(dir, &mut found);
    let _ = write!(found, "{}", seen_from_outside(dir));
    let added = File::options().append(true).open(log);
    if let Err(error) = added.and_then(|mut file| file.write_all(found.as_bytes())) {
        eprintln!("lab: add to {}: {error}", log.display());
    }
    match (fault(log), answer) {
        (Some(line), _) => Kernel::Broken(format!("its kernel said {line:?}")),
        (None, Err(error)) => Kernel::Broken(format!("its kernel does not answer: {error:#}")),
        (None, Ok(())) => Kernel::Well,
    }
}

/// Makes the kernel write to its log which tasks wait, which tasks run, and how much memory is free. An answer to the last
/// command shows that the kernel still works.
fn ask(dir: &Path, found: &mut String) -> anyhow::Result<()> {
    let console = Console::open(dir)?;
    for command in ["version", "sysrq m", "sysrq w", "sysrq t", "version"] {
        let answer = console.ask(command)?;
        let _ = writeln!(found, "lab: {command}: {answer}");
    }
    Ok(())
}

/// The state of the guest's main process on this machine: what it waits for, and how much processor time it uses.
fn seen_from_outside(dir: &Path) -> String {
    let Ok(pid) = fs::read_to_string(dir.join("uml/pid")) else {
        return "lab: the guest has no process number\n".to_owned();
    };
    let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", pid.trim()));
    let spent = || Some(processor_time::of_process(Pid::from_raw(pid.trim().parse().ok()?)?));
    let before = spent();
    sleep(Duration::from_secs(2));
    let burnt = before.zip(spent()).map(|(before, after)| after.saturating_sub(before));
    let mut seen =
        format!("lab: processor time of the guest's main process within 2 s: {burnt:?}\n");
    for name in ["wchan", "syscall", "stack", "status"] {
        let text = read(name).unwrap_or_else(|error| error.to_string());
        let _ = writeln!(seen, "lab: /proc/{}/{name}:\n{}", pid.trim(), text.trim_end());
    }
    seen
}

/// The first line of the kernel's log that reports a fault.
fn fault(log: &Path) -> Option<String> {
    let text = fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line =
        text.lines().map(without_time).find(|line| FAULTS.iter().any(|f| line.starts_with(f)))?;
    Some(line.to_owned())
}

/// A line of a kernel's log without its time, `[   12.345678] `.
fn without_time(line: &str) -> &str {
    let rest = line.trim().strip_prefix('[').and_then(|rest| rest.split_once("] "));
    rest.map_or(line.trim(), |(_, rest)| rest)
}
