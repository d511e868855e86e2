//! What the kernel says of a process in `/proc` (proc_pid_stat(5), cgroups(7)).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The directory where the cgroup hierarchies are mounted.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// Whether this host has the unified hierarchy, cgroup v2, and nothing of v1 beside it.
#[must_use]
pub fn has_unified_cgroups() -> bool {
    Path::new(CGROUPS).join("cgroup.controllers").exists()
}

/// When a process started, in clock ticks after boot. Together with the process ID this distinguishes the process from a later
/// one. `None` if there is no such process.
///
/// # Errors
/// The operating system's, except those of a process that has ended. An error does not mean that the process has ended.
pub fn started(pid: i32) -> io::Result<Option<String>> {
    let stat = match fs::read(format!("/proc/{pid}/stat")) {
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::NOENT | Errno::SRCH)) => {
            return Ok(None);
        }
        read => read?,
    };
    stat_field(&stat, 22)
        .map(|ticks| Some(ticks.to_owned()))
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A field of `/proc/PID/stat` by its number in proc_pid_stat(5), from 3 on.
pub(crate) fn stat_field(stat: &[u8], number: usize) -> Option<&str> {
    // The second field is the name of the program in parentheses. A process names itself, with any bytes but 0 (prctl(2),
    // PR_SET_NAME), and the kernel prints them as they are.
    let name_ends = stat.windows(2).rposition(|two| two == b") ")?;
    let fields = std::str::from_utf8(&stat[name_ends + 2..]).ok()?;
    fields.split_whitespace().nth(number.checked_sub(3)?)
}

/// The path of a process's cgroup of version 2 below the top of the hierarchy, without a leading slash. `None` if the process
/// is in cgroups of version 1 only. A container names its cgroups, with any bytes but `/`, the newline and 0.
///
/// # Errors
/// The operating system's. There is no such file of a process that has ended. ENAMETOOLONG says that the path is longer than
/// PATH_MAX, in whatever cgroup the process is (Linux, kernel/cgroup/cgroup.c, proc_cgroup_show).
pub fn cgroup(pid: i32) -> io::Result<Option<PathBuf>> {
    Ok(unified_path(&fs::read(format!("/proc/{pid}/cgroup"))?))
}

fn unified_path(cgroups: &[u8]) -> Option<PathBuf> {
    let path = cgroups.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::/"))?;
    Some(OsString::from_vec(path.to_vec()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name() {
        let fields = b"S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 9";
        for name in [&b"a) b) 9"[..], b"\xff", b"\xc3", b"a\n) S \xff"] {
            let stat = [b"7 (", name, b") ", fields].concat();
            assert_eq!(stat_field(&stat, 3), Some("S"));
            assert_eq!(stat_field(&stat, 22), Some("12345"));
            assert_eq!((stat_field(&stat, 2), stat_field(&stat, 24)), (None, None));
        }
        assert_eq!(stat_field(b"7 (a", 3), None);
    }

    #[test]
    fn a_cgroup_has_a_name_of_any_bytes() {
        let path = |text: &[u8]| unified_path(text).map(|path| path.into_os_string().into_vec());
        assert_eq!(path(b"4:devices:/x\n0::/c/\xff 0::/y\n").unwrap(), b"c/\xff 0::/y");
        assert_eq!((path(b"0::/\n"), path(b"4:devices:/x\n")), (Some(vec![]), None));
    }

    #[test]
    fn a_child_started_after_its_parent() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let ticks =
            |pid: u32| started(pid as i32).unwrap().and_then(|text| text.parse::<u64>().ok());
        assert!(ticks(child.id()).unwrap() >= ticks(std::process::id()).unwrap());
        assert!(cgroup(child.id() as i32).is_ok());
        child.kill().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!((started(pid as i32).unwrap(), cgroup(pid as i32).is_err()), (None, true));
    }
}
