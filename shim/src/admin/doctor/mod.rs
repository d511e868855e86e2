//! `doctor`: whether the host is ready, with one line for each check and its remedy.
//!
//! Looking and judging are separate: what is found becomes a value, and a function without side effects judges the value.
//! `doctor` makes, activates and changes nothing. A missing part is a result, too.
//!
//! | file | its story |
//! |---|---|
//! | `check` | what was found, how severe the result is, the remedy |
//! | `host` | the configuration, or the defaults; which command installs a package |
//! | `kernel` | version, dm-thin, overlay, loop, cgroups |
//! | `tools` | the programs of other packages |
//! | `pool` | the pool's health and how full it is |
//! | `udev` | the rule that leaves the devices of containers alone |
//! | `selinux` | policy and labels |
//! | `engines` | whether Docker, containerd or podman have sharedroot as a runtime |
//! | `engine_files` | what the engines' configuration files contain |
//! | `snapshotter` | whether the snapshotter answers where engines call it |
//! | `leftovers` | what `gc` would find |

mod check;
mod engine_files;
mod engines;
mod host;
mod kernel;
mod leftovers;
mod pool;
mod selinux;
mod snapshotter;
mod tools;
mod udev;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use check::{Check, Severity};
use host::Host;

use crate::admin::for_programs;
use crate::admin::screen::Screen;
use crate::cli::{Doctor, Global};
use crate::lifecycle::LifecycleError;
use crate::output::say;

/// Checks of one kind, which run one after another.
type Look = fn(&Host) -> Vec<Check>;

/// All kinds, in the order of the output.
const KINDS: [(&str, Look); 8] = [
    ("kernel", kernel::look),
    ("tools", tools::look),
    ("pool", pool::look),
    ("udev", udev::look),
    ("selinux", selinux::look),
    ("engines", engines::look),
    ("snapshotter", snapshotter::look),
    ("leftovers", leftovers::look),
];

/// The longest time for all checks. The lock of a living process, or a file system that does not answer, must not hold
/// up `doctor`.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs all checks and prints the results. The exit status is 0 if all are good, 1 for warnings, 2 for problems.
///
/// # Errors
/// [`LifecycleError`] if not even the default configuration can be used.
pub fn doctor(global: &Global, args: &Doctor) -> Result<u8, LifecycleError> {
    let (host, mut checks) = Host::read(global)?;
    checks.extend(gather(KINDS, &Arc::new(host), PATIENCE));
    let worst = checks.iter().map(|check| check.severity).max().unwrap_or(Severity::Ok);
    if args.json {
        let checks: Vec<Value> = checks.iter().map(Check::to_json).collect();
        for_programs(json!({ "status": worst.status(), "checks": checks }));
    } else {
        let line = if Screen::here().coloured { Check::coloured_line } else { Check::plain_line };
        checks.iter().for_each(|check| say!("{}", line(check)));
    }
    Ok(worst.status())
}

/// The results of all kinds, which run at the same time. A kind without an answer in time is given up: this process
/// ends soon, and its threads end with it.
fn gather<const N: usize>(
    kinds: [(&'static str, Look); N],
    host: &Arc<Host>,
    patience: Duration,
) -> Vec<Check> {
    let end = Instant::now() + patience;
    let looks = kinds.map(|(kind, look)| {
        let ((sender, receiver), host) = (mpsc::channel(), Arc::clone(host));
        thread::spawn(move || sender.send(look(&host)));
        (kind, receiver)
    });
    let answer = |(kind, receiver): (_, Receiver<Vec<Check>>)| {
        let left = end.saturating_duration_since(Instant::now());
        receiver.recv_timeout(left).unwrap_or_else(|_| vec![no_answer(kind, patience)])
    };
    looks.into_iter().flat_map(answer).collect()
}

fn no_answer(kind: &'static str, patience: Duration) -> Check {
    let found = format!(
        "no answer within {} s: another process holds a lock, or a disk does not answer",
        patience.as_secs()
    );
    Check::problem(kind, found, "ps -eo pid,stat,etime,args | grep sharedroot, then try again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_does_not_answer_holds_nothing_else() {
        let stuck: Look = |_| {
            thread::sleep(Duration::from_secs(600));
            Vec::new()
        };
        let well: Look = |_| vec![Check::ok("well", "here")];
        let host = Host { bases: Config::default().bases().unwrap(), config_file: "/none".into() };
        let kinds = [("one", well), ("two", stuck), ("three", well)];
        let checks = gather(kinds, &Arc::new(host), Duration::from_secs(3));
        let severities: Vec<_> = checks.iter().map(|check| (check.name, check.severity)).collect();
        let expected = [("well", Severity::Ok), ("two", Severity::Problem), ("well", Severity::Ok)];
        assert_eq!(severities, expected);
    }
}
