//! Who uses a block device, for the message of an error. This reads the files of every process, and containers can make many of
//! them: so a search has a bound of time, and whoever needs the device's end does not wait for a search.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use sharedroot_sys::mountinfo;

use crate::kernel::DevNumber;

/// How many users a message names. A search ends when it has so many.
const NAMED: usize = 4;

/// How long a search may take. A container can have thousands of processes that share one table of descriptors (clone(2) with
/// CLONE_FILES), and each of them shows all of its descriptors.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many descriptors of one process a search looks at, so that one process does not use up its time.
const DESCRIPTORS: usize = 4096;

/// How many bytes of one mount table a search reads. A container with CAP_SYS_ADMIN can make mount namespaces, each with as many
/// mounts as `fs.mount-max` allows.
const TABLE: usize = 4 << 20;

/// One user of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// The device is mounted in this process's mount namespace.
    Mount {
        /// The first process that was found in the namespace.
        process: Process,
        /// The mount point, as that process sees it.
        at: PathBuf,
    },
    /// This process has the device open, or a file on it, or its working directory or root is on it.
    Open {
        /// The process.
        process: Process,
    },
    /// Another block device lies on the device.
    Device {
        /// The other device's dm name, or its kernel name.
        name: String,
    },
}

/// A process: its command, and its ID in this process's PID namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The command's name, at most 15 bytes.
    pub command: String,
    /// The process ID.
    pub pid: u32,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.command, self.pid)
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { process, at } => write!(f, "{process} mounted at {}", at.display()),
            Self::Open { process } => write!(f, "{process} holding it open"),
            Self::Device { name } => write!(f, "the device {name}"),
        }
    }
}

/// The users of a block device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// The users that were found, at most four.
    pub found: Vec<User>,
    /// Where they were looked for.
    pub searched: Searched,
}

/// How far a search for the users of a device came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Searched {
    /// Nobody has looked.
    #[default]
    Nowhere,
    /// The search ended at one of its bounds, so there may be other users.
    InPart,
    /// Every process was looked at.
    Everywhere,
}

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = match self.searched {
            Searched::Nowhere => "somebody",
            Searched::InPart => "something that a search of at most 1 s did not find",
            Searched::Everywhere => "something that /proc does not show",
        };
        if self.found.is_empty() {
            return f.write_str(none);
        }
        for (index, user) in self.found.iter().enumerate() {
            let comma = if index == 0 { "" } else { "; " };
            write!(f, "{comma}{user}")?;
        }
        if self.searched == Searched::InPart { f.write_str("; and perhaps more") } else { Ok(()) }
    }
}

impl Users {
    /// As [`of`](Self::of), for the device of a node in `/dev`.
    pub(crate) fn of_node(node: &Path) -> Self {
        let found = statx(CWD, node, AtFlags::empty(), StatxFlags::TYPE);
        found.map_or_else(
            |_| Self::default(),
            |found| {
                Self::of(DevNumber { major: found.stx_rdev_major, minor: found.stx_rdev_minor })
            },
        )
    }

    /// Finds the users of a device, at most four, in about a second. Processes that end meanwhile, and files that cannot be read,
    /// are left out: the result only explains an error that has happened already.
    ///
    /// The caller should hold no lock for which other containers wait.
    pub(crate) fn of(device: DevNumber) -> Self {
        let begin = Instant::now();
        let users = Self { found: Vec::new(), searched: Searched::Everywhere };
        let mut search = Search { device, end: begin + PATIENCE / 2, users };
        search.devices();
        search.mounts();
        search.end = begin + PATIENCE;
        search.openers();
        search.users
    }
}

/// A search that goes on.
struct Search {
    device: DevNumber,
    end: Instant,
    users: Users,
}

impl Search {
    /// Whether the search may go on.
    fn goes_on(&mut self) -> bool {
        let goes_on = self.users.found.len() < NAMED && Instant::now() < self.end;
        if !goes_on {
            self.users.searched = Searched::InPart;
        }
        goes_on
    }

    /// The block devices that lie on the device.
    fn devices(&mut self) {
        for holder in entries(format!("/sys/dev/block/{}/holders", self.device).as_ref()) {
            if !self.goes_on() {
                return;
            }
            let holder = holder.to_string_lossy().into_owned();
            let dm = name_in(format!("/sys/class/block/{holder}/dm/name").as_ref());
            self.users.found.push(User::Device { name: dm.unwrap_or(holder) });
        }
    }

    /// The mounts of the device in all mount namespaces.
    fn mounts(&mut self) {
        let mut namespaces = BTreeSet::new();
        for (pid, dir) in processes() {
            if !self.goes_on() {
                return;
            }
            let namespace = fs::read_link(dir.join("ns/mnt")).ok();
            if namespace.is_some_and(|namespace| !namespaces.insert(namespace)) {
                continue;
            }
            for at in mounted_at(&self.table(&dir), self.device) {
                if !self.goes_on() {
                    return;
                }
                self.users.found.push(User::Mount { process: process(pid, &dir), at });
            }
        }
    }

    /// The beginning of a process's mount table.
    fn table(&mut self, process: &Path) -> Vec<u8> {
        const PIECE: u64 = 1 << 16;
        let mut table = Vec::new();
        let Ok(file) = File::open(process.join("mountinfo")) else { return table };
        while self.goes_on() {
            if table.len() >= TABLE {
                self.users.searched = Searched::InPart;
                break;
            }
            match (&file).take(PIECE).read_to_end(&mut table) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        table
    }

    /// The processes that have the device or a file on its file system open. A mount that was detached lazily is in no mount
    /// table, and such a process keeps it alive.
    fn openers(&mut self) {
        for (pid, dir) in processes() {
            if !self.goes_on() {
                return;
            }
            if self.has_open(&dir) {
                self.users.found.push(User::Open { process: process(pid, &dir) });
            }
        }
    }

    fn has_open(&mut self, process: &Path) -> bool {
        if ["cwd", "root"].into_iter().any(|link| self.leads_to_device(&process.join(link))) {
            return true;
        }
        let fds = process.join("fd");
        for (number, name) in entries(&fds).enumerate() {
            if !self.goes_on() {
                return false;
            }
            if number == DESCRIPTORS {
                self.users.searched = Searched::InPart;
                return false;
            }
            if self.leads_to_device(&fds.join(name)) {
                return true;
            }
        }
        false
    }

    fn leads_to_device(&self, link: &Path) -> bool {
        // A pipe or a socket has no path, and is on no device.
        if !fs::read_link(link).is_ok_and(|target| target.is_absolute()) {
            return false;
        }
        // STATX_DONT_SYNC does not ask the server of a network file system, which may not answer.
        statx(CWD, link, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE).is_ok_and(|found| {
            let on = DevNumber { major: found.stx_dev_major, minor: found.stx_dev_minor };
            let is = DevNumber { major: found.stx_rdev_major, minor: found.stx_rdev_minor };
            self.device == on || self.device == is
        })
    }
}

/// The IDs and directories of all processes, one after another.
fn processes() -> impl Iterator<Item = (u32, PathBuf)> {
    let pids = entries("/proc".as_ref()).filter_map(|name| name.to_str()?.parse::<u32>().ok());
    pids.map(|pid| (pid, PathBuf::from(format!("/proc/{pid}"))))
}

fn process(pid: u32, dir: &Path) -> Process {
    Process { command: name_in(&dir.join("comm")).unwrap_or_default(), pid }
}

/// The name in a file of the kernel, for a message. A process and the owner of a device choose its bytes.
fn name_in(file: &Path) -> Option<String> {
    Some(String::from_utf8_lossy(&fs::read(file).ok()?).trim_end().to_owned())
}

fn entries(dir: &Path) -> impl Iterator<Item = OsString> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name())
}

/// The mount points of a device in a mount table.
fn mounted_at(table: &[u8], device: DevNumber) -> impl Iterator<Item = PathBuf> {
    let device = (device.major, device.minor);
    mountinfo::mounts(table).filter(move |mount| mount.device == device).map(|mount| mount.point)
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
