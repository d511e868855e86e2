//! One process as the kernel shows it in /proc.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::lab::wait_for;

/// A line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor` of the file system.
    pub device: String,
    /// The directory of the file system that is mounted.
    pub root: String,
    /// The mount point.
    pub at: String,
    /// The mount's own options.
    pub options: String,
    /// The file system's type.
    pub fstype: String,
    /// The device, or the word that the file system has instead.
    pub source: String,
    /// The superblock's options.
    pub super_options: String,
}

/// The mounts that a process sees; `pid` may be `self`.
///
/// # Panics
/// If there is no such process.
#[track_caller]
pub fn mounts_of(pid: &str) -> Vec<Mount> {
    let path = format!("/proc/{pid}/mountinfo");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path}: {e}"));
    text.lines().filter_map(parse).collect()
}

/// proc_pid_mountinfo(5): `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
fn parse(line: &str) -> Option<Mount> {
    let (own, system) = line.split_once(" - ")?;
    let own: Vec<_> = own.split(' ').collect();
    let mut system = system.splitn(3, ' ').map(str::to_owned);
    Some(Mount {
        device: (*own.get(2)?).to_owned(),
        root: (*own.get(3)?).to_owned(),
        at: (*own.get(4)?).to_owned(),
        options: (*own.get(5)?).to_owned(),
        fstype: system.next()?,
        source: system.next()?,
        super_options: system.next()?,
    })
}

impl Mount {
    /// Whether the mount or its file system has the option.
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').chain(self.super_options.split(',')).any(|o| o == option)
    }

    /// Whether the mount's device is a device of device-mapper.
    pub fn is_on_dm(&self) -> bool {
        fs::exists(format!("/sys/dev/block/{}/dm", self.device)).unwrap_or(false)
    }

    /// The number of sectors of 512 bytes that were read from the mount's device since the device exists.
    #[track_caller]
    pub fn sectors_read(&self) -> u64 {
        let path = format!("/sys/dev/block/{}/stat", self.device);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path}: {e}"));
        // Documentation/block/stat.rst: read I/Os, read merges, read sectors, ...
        text.split_whitespace().nth(2).and_then(|n| n.parse().ok()).expect("sectors read")
    }
}

/// The root mount of a process.
#[track_caller]
pub fn root_of(pid: i32) -> Mount {
    let found = mounts_of(&pid.to_string()).into_iter().rfind(|m| m.at == "/");
    found.expect("a process has a root mount")
}

/// Device and inode of a file as the process sees it.
#[track_caller]
pub fn identity(pid: i32, path: &str) -> (u64, u64) {
    let path = format!("/proc/{pid}/root{path}");
    let found = fs::metadata(&path).unwrap_or_else(|e| panic!("stat {path}: {e}"));
    (found.dev(), found.ino())
}

/// The lines of a `/proc/PID/status` about the process's privileges.
pub fn confinement(status: &str) -> Vec<String> {
    const FIELDS: [&str; 10] = [
        "Uid",
        "Gid",
        "Groups",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
    ];
    let field = |line: &str| line.split_once(':').is_some_and(|(name, _)| FIELDS.contains(&name));
    // "Groups:" ends with a blank on some kernels.
    status.lines().filter(|line| field(line)).map(|line| line.trim_end().to_owned()).collect()
}

/// The lines of a process's `/proc/PID/status` about its privileges.
#[track_caller]
pub fn confinement_of(pid: i32) -> Vec<String> {
    let path = format!("/proc/{pid}/status");
    confinement(&fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path}: {e}")))
}

/// Waits until a process runs its own program, because `start` of a runtime does not wait for execve(2). Before execve the
/// process has the name, the label and the descriptors of the runtime.
#[track_caller]
pub fn has_begun(pid: i32) {
    let of_runtime =
        |name: &str| ["sharedroot", "runc", "crun", "/memfd:"].iter().any(|n| name.contains(n));
    wait_for(&format!("process {pid} runs its own program"), || {
        let program = fs::read_link(format!("/proc/{pid}/exe"));
        (!program.is_ok_and(|path| of_runtime(&path.to_string_lossy()))).then_some(())
    });
}

/// Waits until a process handles the signal and has a child. Then a shell script that begins with `trap` and a program in the
/// background has reached its `wait`. User-Mode Linux panics if a signal interrupts a fork.
#[track_caller]
pub fn traps(pid: i32, signal: u32) {
    wait_for(&format!("process {pid} handles signal {signal}"), || {
        // The process chooses its name, which need not be text.
        let status = fs::read(format!("/proc/{pid}/status")).ok()?;
        let status = String::from_utf8_lossy(&status);
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
        let waits = cgroup_file(pid, "cgroup.procs").lines().count() > 1;
        (caught & 1 << (signal - 1) != 0 && waits).then_some(())
    });
}

/// A file of the process's cgroup (version 2).
#[track_caller]
pub fn cgroup_file(pid: i32, name: &str) -> String {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path}: {e}"));
    let group = text.lines().find_map(|line| line.strip_prefix("0::")).expect("a cgroup 2 line");
    let path = format!("/sys/fs/cgroup{group}/{name}");
    let value = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path}: {e}"));
    value.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_line_is_read_by_its_fields() {
        let m =
            parse("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue");
        let m = m.expect("a mount");
        assert_eq!((&*m.device, &*m.root, &*m.at), ("98:0", "/mnt1", "/mnt2"));
        assert_eq!((&*m.fstype, &*m.source), ("ext3", "/dev/root"));
        assert!(m.has("noatime") && m.has("errors=continue") && !m.has("ro"));
        let m = parse("1 0 0:2 / / ro - tmpfs none rw").expect("a mount without optional fields");
        assert_eq!(m.source, "none");
    }
}
