//! Whether the kernel has the parts that images, snapshots and containers need.

use std::fs;
use std::path::Path;

use rustix::fs::statfs;
use sharedroot_dm::Backing;

use super::check::Check;
use super::host::Host;

/// The oldest kernel that sharedroot supports: Linux 6.8 introduced statmount(2).
const OLDEST: (u32, u32) = (6, 8);

/// Checks the kernel.
pub fn look(host: &Host) -> Vec<Check> {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let release = read("/proc/sys/kernel/osrelease");
    let release = release.trim_end();
    let modules = Modules::of(&Path::new("/lib/modules").join(release));
    let (file_systems, misc) = (read("/proc/filesystems"), read("/proc/misc"));
    let loaded = |name: &str| Path::new("/sys/module").join(name).exists();
    let has_fs =
        |name: &str| file_systems.lines().any(|line| line.split('\t').nth(1) == Some(name));
    let has_misc = |name: &str| misc.split_whitespace().any(|word| word == name);
    let on_loop = matches!(host.bases.config().pool.backing, Backing::Loop { .. });

    let dm = match loaded("dm_thin_pool") && has_misc("device-mapper") {
        true => Part::Ready,
        false => modules.part("dm-thin-pool"),
    };
    let part = |ready: bool, name| if ready { Part::Ready } else { modules.part(name) };
    let mut checks = vec![
        version(release),
        thin(dm, Path::new("/dev/mapper/control").exists()),
        needed("ext4", part(has_fs("ext4"), "ext4"), "file systems of bases"),
        needed("overlay", part(has_fs("overlay"), "overlay"), "layers and scaffolds"),
    ];
    if on_loop {
        let there = part(Path::new("/dev/loop-control").exists(), "loop");
        checks.push(needed("loop", there, "the pool's loop files"));
    }
    checks.push(cgroup(statfs("/sys/fs/cgroup").ok().map(|found| found.f_type as u64)));
    checks
}

/// How a part of the kernel is available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The part can be used now.
    Ready,
    /// The part is a module that the first use loads.
    Module,
    /// The kernel does not have the part.
    Missing,
}

/// The modules of the running kernel, by their file names.
struct Modules(String);

impl Modules {
    fn of(dir: &Path) -> Self {
        let read = |name| fs::read_to_string(dir.join(name)).unwrap_or_default();
        Self([read("modules.builtin"), read("modules.dep")].concat())
    }

    /// `kernel/drivers/md/dm-thin-pool.ko.xz: kernel/…`
    fn part(&self, name: &str) -> Part {
        let files = self.0.lines().filter_map(|line| line.split(':').next()?.rsplit('/').next());
        let mut names = files.filter_map(|file| file.split_once(".ko")).map(|(name, _)| name);
        if names.any(|found| found.replace('_', "-") == name) {
            Part::Module
        } else {
            Part::Missing
        }
    }
}

fn version(release: &str) -> Check {
    let (major, minor) = OLDEST;
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
    let mut numbers = release.splitn(3, '.').map(number);
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(found), Some(then)) if (found, then) >= OLDEST => {
            Check::ok("kernel", format!("Linux {release}"))
        }
        _ => Check::problem(
            "kernel",
            format!("Linux {release} is older than {major}.{minor}"),
            format!("boot Linux {major}.{minor} or newer"),
        ),
    }
}

fn thin(part: Part, has_node: bool) -> Check {
    const NAME: &str = "dm-thin";
    match part {
        Part::Ready => Check::ok(NAME, "there"),
        Part::Module if has_node => Check::ok(NAME, "a module; the first use loads it"),
        Part::Module => Check::problem(
            NAME,
            "not loaded, and there is no /dev/mapper/control that would load it",
            "modprobe dm-thin-pool",
        ),
        Part::Missing => Check::problem(
            NAME,
            "the kernel does not have dm-thin: there can be no pool, and containers fail",
            "boot a kernel with CONFIG_DM_THIN_PROVISIONING, as those of distributions are",
        ),
    }
}

fn needed(name: &'static str, part: Part, what: &str) -> Check {
    match part {
        Part::Ready => Check::ok(name, "there"),
        Part::Module => Check::ok(name, "a module; the first use loads it"),
        Part::Missing => Check::problem(
            name,
            format!("the kernel does not have {name}, which is needed for {what}"),
            format!("modprobe {name}, or boot a kernel that has it"),
        ),
    }
}

/// Distinguishes the versions by the magic number of the file system at /sys/fs/cgroup (statfs(2)).
fn cgroup(magic: Option<u64>) -> Check {
    const CGROUP2: u64 = 0x6367_7270;
    const TMPFS: u64 = 0x0102_1994;
    const NAME: &str = "cgroup";
    match magic {
        Some(CGROUP2) => Check::ok(NAME, "version 2"),
        Some(TMPFS) => Check::warning(
            NAME,
            "version 1, or both: version 2 is what is tested, and crun refuses both at once",
            "boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line",
        ),
        _ => Check::problem(
            NAME,
            "nothing is mounted at /sys/fs/cgroup",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Severity::{Ok as Good, Problem, Warning};
    use super::*;

    #[test]
    fn versions_are_numbers() {
        for (release, severity) in [
            ("6.8.0", Good),
            ("6.12.101-um", Good),
            ("6.18.44-fc-v595", Good),
            ("7.0-rc1", Good),
            ("10.0", Good),
            ("6.7.12", Problem),
            ("5.15.0-91-generic", Problem),
            ("6", Problem),
            ("", Problem),
        ] {
            assert_eq!(version(release).severity, severity, "{release:?}");
        }
    }

    #[test]
    fn modules_are_known_by_their_files() {
        let text = "kernel/fs/ext4/ext4.ko\n\
                    kernel/drivers/md/dm-thin-pool.ko.xz: kernel/drivers/md/dm-bio-prison.ko.xz\n\
                    kernel/drivers/md/dm_era.ko:\n";
        let modules = Modules(text.to_owned());
        for there in ["ext4", "dm-thin-pool", "dm-era"] {
            assert_eq!(modules.part(there), Part::Module, "{there}");
        }
        for missing in ["dm-thin", "dm-bio-prison", "ext", ""] {
            assert_eq!(modules.part(missing), Part::Missing, "{missing}");
        }
    }

    #[test]
    fn parts_and_cgroups_are_judged() {
        assert_eq!(thin(Part::Ready, true).severity, Good);
        assert_eq!(thin(Part::Module, true).severity, Good);
        assert!(thin(Part::Module, false).plain_line().ends_with("remedy: modprobe dm-thin-pool"));
        assert_eq!(thin(Part::Missing, true).severity, Problem);
        assert_eq!(needed("overlay", Part::Module, "x").severity, Good);
        assert_eq!(needed("overlay", Part::Missing, "x").severity, Problem);
        assert_eq!(cgroup(Some(0x6367_7270)).severity, Good);
        assert_eq!(cgroup(Some(0x0102_1994)).severity, Warning);
        assert_eq!(cgroup(Some(0x6265_6572)).severity, Problem);
        assert_eq!(cgroup(None).severity, Problem);
    }
}
