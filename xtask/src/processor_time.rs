//! How long processes of a job kept a processor (proc_pid_stat(5)).

use std::fs;
use std::process::Child;
use std::time::Duration;

use anyhow::Result;
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// The unit of the kernel's figures: USER_HZ is 100 on every processor that Rust knows.
const TICK: Duration = Duration::from_millis(10);

/// The time of one process with that of the children for which it has waited; zero if the process is gone.
pub fn of_process(pid: Pid) -> Duration {
    row(pid.as_raw_nonzero().get()).map_or(Duration::ZERO, |(_, time)| time)
}

/// The time of all processes of these groups, with that of the children for which they have waited.
pub fn of_groups(groups: &[Pid]) -> Duration {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let rows = pids.filter_map(row);
    rows.filter(|(group, _)| groups.iter().any(|pid| pid.as_raw_nonzero().get() == *group))
        .map(|(_, time)| time)
        .sum()
}

/// Whether a child has ended. A child that has ended stays a zombie, whose time can still be read.
pub fn has_ended(child: &Child) -> Result<bool> {
    ended(child, WaitIdOptions::NOHANG)
}

/// Waits for a child's end, and leaves a zombie, whose time can still be read.
pub fn until_end(child: &Child) -> Result<()> {
    ended(child, WaitIdOptions::empty()).map(|_| ())
}

fn ended(child: &Child, how: WaitIdOptions) -> Result<bool> {
    let how = how | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    match rustix::io::retry_on_intr(|| waitid(WaitId::Pid(Pid::from_child(child)), how)) {
        Ok(status) => Ok(status.is_some()),
        // The caller has waited for the child already.
        Err(Errno::CHILD) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The process group and the time of a process.
fn row(pid: i32) -> Option<(i32, Duration)> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let end = text.windows(2).rposition(|two| two == b") ")?;
    let fields: Vec<_> = std::str::from_utf8(&text[end + 2..]).ok()?.split(' ').collect();
    // The first one here is field 3, the state.
    let field = |number: usize| fields.get(number - 3);
    let ticks = (14..=17).map(|number| field(number)?.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some((field(5)?.parse().ok()?, TICK.checked_mul(ticks.try_into().ok()?)?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_time_of_a_child_and_its_children_counts() {
        let busy = "sh -c 'n=0; while [ $n -lt 300000 ]; do n=$((n + 1)); done'; exit 3";
        let mut child = Command::new("sh").args(["-c", busy]).process_group(0).spawn().unwrap();
        let pid = Pid::from_child(&child);
        until_end(&child).unwrap();
        assert!(has_ended(&child).unwrap());
        let time = of_process(pid);
        assert!(time > Duration::from_millis(20), "{time:?}");
        assert_eq!(of_groups(&[pid]), time);
        assert_eq!(child.wait().unwrap().code(), Some(3));
        assert!(has_ended(&child).unwrap());
        assert_eq!(of_process(pid), Duration::ZERO);
    }
}
