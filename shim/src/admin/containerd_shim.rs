//! containerd's shim of sharedroot: how engines name and find it, and those that run now.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sharedroot_dm::Bytes;

/// The runtime type.
pub const RUNTIME_TYPE: &str = "io.containerd.sharedroot.v2";

/// The program of the runtime type, which containerd finds by this name.
pub const PROGRAM: &str = "containerd-shim-sharedroot-v2";

/// The directories of the daemons, in which a program without a path is searched.
pub const PLACES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The program of a runtime type, as containerd finds it (`runtime/v2/shim/util.go`, `BinaryName`): the type itself if it is a
/// path, else `containerd-shim-` and the last two parts of the type.
pub fn program_of(runtime_type: &str) -> Option<PathBuf> {
    if Path::new(runtime_type).is_absolute() {
        return Some(runtime_type.into());
    }
    let mut parts = runtime_type.rsplit('.');
    let (version, name) = (parts.next()?, parts.next()?);
    Some(format!("containerd-shim-{name}-{version}").into())
}

/// The program's path, if containerd finds it.
pub fn installed() -> Option<PathBuf> {
    in_places(PROGRAM)
}

/// The path of the program of that name in the first of [`PLACES`] that has the program.
pub fn in_places(program: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join(program)).find(|path| path.is_file())
}

/// How many bytes of a file of a process are read. Only a command line has more, and only its first word counts.
const MOST: u64 = 1 << 16;

/// The shims that run now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// How many serve containers.
    pub servers: usize,
    /// The memory of all their processes: each page that several processes have is divided among these (PSS).
    pub memory: Bytes,
}

impl Running {
    /// Those in this PID namespace, in which no container can show a process of the same name, unless it was given the host's.
    pub fn now() -> Self {
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let here = fs::read_link("/proc/self/ns/pid").ok();
        let shims = pids.filter_map(|pid| {
            let link = |name: &str| fs::read_link(format!("/proc/{pid}/{name}")).ok();
            let text = |name: &str| {
                let (file, mut bytes) = (File::open(format!("/proc/{pid}/{name}")), Vec::new());
                let _ = file.and_then(|file| file.take(MOST).read_to_end(&mut bytes));
                String::from_utf8_lossy(&bytes).into_owned()
            };
            // Its program is a mount of its own, which is attached nowhere and so has no name. The command line comes from the
            // memory of the process, where a read can wait for a container, so it is read last.
            let is_shim =
                link("ns/pid") == here && text("cmdline").split('\0').next() == Some(PROGRAM);
            let parent = is_shim.then(|| parent(&text("status"))).flatten()?;
            Some((pid, Shim { parent, memory: pss(&text("smaps_rollup")) }))
        });
        Self::of(&shims.collect())
    }

    /// A spawner and a helper are children of a server, or of its spawner.
    fn of(shims: &BTreeMap<u32, Shim>) -> Self {
        let servers = shims.values().filter(|shim| !shims.contains_key(&shim.parent)).count();
        Self { servers, memory: Bytes(shims.values().map(|shim| shim.memory.0).sum()) }
    }

    /// The same keys whatever runs.
    pub fn to_json(self) -> Value {
        json!({ "servers": self.servers, "memory_bytes": self.memory.0 })
    }

    /// The figures in words; none if no shim runs.
    pub fn words(self) -> Option<String> {
        let Self { servers, memory } = self;
        (servers > 0).then(|| format!("{servers} of containerd, with {memory} of memory"))
    }
}

/// A process whose program is the shim.
#[derive(Debug)]
struct Shim {
    parent: u32,
    memory: Bytes,
}

fn parent(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// `Pss:                 138 kB`
fn pss(rollup: &str) -> Bytes {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Bytes(kib.unwrap_or(0).saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_type_names_its_program() {
        assert_eq!(program_of(RUNTIME_TYPE), Some(PROGRAM.into()));
        assert_eq!(program_of("/opt/shim"), Some("/opt/shim".into()));
        assert_eq!(program_of("io.containerd.kata.v2"), Some("containerd-shim-kata-v2".into()));
        assert_eq!(program_of("sharedroot"), None);
    }

    #[test]
    fn a_server_is_counted_once_with_its_children() {
        let shim = |parent, kib: u64| Shim { parent, memory: Bytes(kib << 10) };
        // Two servers with their spawners, and a helper.
        let shims = [(5, shim(1, 100)), (6, shim(5, 30)), (7, shim(5, 9)), (8, shim(1, 1))];
        let running = Running::of(&shims.into());
        assert_eq!(running, Running { servers: 2, memory: Bytes(140 << 10) });
        assert_eq!(running.words().unwrap(), "2 of containerd, with 140 KiB of memory");
        assert_eq!(Running::default().words(), None);
        assert_eq!(running.to_json(), json!({ "servers": 2, "memory_bytes": 143_360 }));
    }

    #[test]
    fn figures_of_the_kernel_are_read() {
        assert_eq!(parent("Name:\tx\nPPid:\t77\n"), Some(77));
        assert_eq!(pss("Rss:  200 kB\nPss:                 138 kB\n"), Bytes(138 << 10));
        assert_eq!(pss(""), Bytes(0));
    }
}
