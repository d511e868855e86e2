//! Who uses a block device. Used only for the message of an error, because it reads the files of every process.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use sharedroot_sys::mountinfo;

use crate::kernel::DevNumber;

/// How many users a message names.
const NAMED: usize = 4;

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

/// The users of a block device. `Display` names the first four of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users(pub Vec<User>);

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("something that /proc does not show");
        }
        for (index, user) in self.0.iter().take(NAMED).enumerate() {
            let comma = if index == 0 { "" } else { "; " };
            write!(f, "{comma}{user}")?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl Users {
    /// Finds the users of a device. Processes that end meanwhile, and files that cannot be read, are left out: the result only
    /// explains an error that has happened already.
    pub(crate) fn of(device: DevNumber) -> Self {
        let mut users = holders(device);
        let mut namespaces = BTreeSet::new();
        let mut openers = Vec::new();
        for pid in entries("/proc").filter_map(|name| name.to_str()?.parse::<u32>().ok()) {
            let dir = PathBuf::from(format!("/proc/{pid}"));
            let process = Process { command: name_in(&dir.join("comm")).unwrap_or_default(), pid };
            let namespace = fs::read_link(dir.join("ns/mnt")).ok();
            if namespace.is_none_or(|namespace| namespaces.insert(namespace)) {
                let table = fs::read(dir.join("mountinfo")).unwrap_or_default();
                let found = mounted_at(&table, device).into_iter();
                users.extend(found.map(|at| User::Mount { process: process.clone(), at }));
            }
            if has_open(&dir, device) {
                openers.push(User::Open { process });
            }
        }
        users.append(&mut openers);
        Self(users)
    }
}

/// The block devices that lie on a device.
fn holders(device: DevNumber) -> Vec<User> {
    let name = |holder: OsString| {
        let holder = holder.to_string_lossy().into_owned();
        let dm = name_in(format!("/sys/class/block/{holder}/dm/name").as_ref());
        User::Device { name: dm.unwrap_or(holder) }
    };
    entries(&format!("/sys/dev/block/{device}/holders")).map(name).collect()
}

/// The name in a file of the kernel, for a message. A process and the owner of a device choose its bytes.
fn name_in(file: &Path) -> Option<String> {
    Some(String::from_utf8_lossy(&fs::read(file).ok()?).trim_end().to_owned())
}

fn entries(dir: &str) -> impl Iterator<Item = OsString> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name())
}

/// Whether a process has the device or a file on its file system open. A mount that was detached lazily is in no mount table,
/// and such a process keeps it alive.
fn has_open(process: &Path, device: DevNumber) -> bool {
    let on_it = |link: PathBuf| {
        // A pipe or a socket has no path, and is on no device.
        if !fs::read_link(&link).is_ok_and(|target| target.is_absolute()) {
            return false;
        }
        // STATX_DONT_SYNC does not ask the server of a network file system, which may not answer.
        statx(CWD, &link, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE).is_ok_and(|found| {
            let on = DevNumber { major: found.stx_dev_major, minor: found.stx_dev_minor };
            let is = DevNumber { major: found.stx_rdev_major, minor: found.stx_rdev_minor };
            device == on || device == is
        })
    };
    let fds = process.join("fd");
    let open = entries(&fds.to_string_lossy()).map(|name| fds.join(name)).any(on_it);
    open || ["cwd", "root"].into_iter().any(|link| on_it(process.join(link)))
}

/// The mount points of a device in a mount table.
fn mounted_at(table: &[u8], device: DevNumber) -> Vec<PathBuf> {
    let device = (device.major, device.minor);
    let here = mountinfo::mounts(table).filter(|mount| mount.device == device);
    here.map(|mount| mount.point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DevNumber = DevNumber { major: 253, minor: 7 };

    #[test]
    fn lines_of_a_real_table() {
        let table = b"25 30 0:23 / /proc rw,relatime shared:5 - proc proc rw\n\
            61 30 253:7 / /mnt/a\\040b ro - ext4 /dev/dm-7 ro\n\
            62 30 253:70 / /mnt/other rw - ext4 /dev/dm-70 rw\n\
            63 30 253:7 /sub /mnt/c rw shared:9 master:3 - ext4 /dev/dm-7 rw\n\n61 30 253:7";
        let found = mounted_at(table, DEVICE);
        assert_eq!(found, [PathBuf::from("/mnt/a b"), PathBuf::from("/mnt/c")]);
    }

    #[test]
    fn a_message_names_a_few_users() {
        let process = |pid| Process { command: "nginx".into(), pid };
        let mount = User::Mount { process: process(123), at: "/x".into() };
        let device = User::Device { name: "vg-root".into() };
        let users = Users(vec![mount, device, User::Open { process: process(9) }]);
        assert_eq!(
            users.to_string(),
            "nginx (pid 123) mounted at /x; the device vg-root; nginx (pid 9) holding it open"
        );
        let many = Users((0..7).map(|pid| User::Open { process: process(pid) }).collect());
        assert!(many.to_string().ends_with("nginx (pid 3) holding it open; and 3 more"), "{many}");
        assert_eq!(Users::default().to_string(), "something that /proc does not show");
    }

    #[test]
    fn this_process_and_its_files_are_found() {
        let here = tempfile();
        let on = statx(CWD, &here.0, AtFlags::empty(), StatxFlags::TYPE).expect("a file");
        let device = DevNumber { major: on.stx_dev_major, minor: on.stx_dev_minor };
        let open = fs::File::open(&here.0).expect("open");
        let me = Process {
            command: fs::read_to_string("/proc/self/comm").expect("a name").trim_end().into(),
            pid: std::process::id(),
        };
        let users = Users::of(device);
        assert!(users.0.contains(&User::Open { process: me }), "{users:?}");
        drop(open);
    }

    struct Removed(PathBuf);

    impl Drop for Removed {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn tempfile() -> Removed {
        let path = std::env::temp_dir().join(format!("sharedroot-dm-users-{}", std::process::id()));
        fs::write(&path, "x").expect("a file");
        Removed(path)
    }
}
