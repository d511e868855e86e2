//! The figures of a cgroup of version 2, as the kernel's files have them (Documentation/admin-guide/cgroup-v2.rst).
//!
//! They are read here, because libcgroups fails on a kernel without pressure-stall information. A file that does not exist has
//! the figure 0: its controller is off, or the kernel is too old for it.

use std::collections::BTreeMap;
use std::path::Path;

/// Where the kernel names the sizes of its huge pages.
const HUGE_PAGES: &str = "/sys/kernel/mm/hugepages";

/// The figures of a flat-keyed file, whose lines are `KEY VALUE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flat(BTreeMap<String, u64>);

impl Flat {
    fn parse(text: &str) -> Self {
        let pair = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.parse().ok()?))
        };
        Self(text.lines().filter_map(pair).collect())
    }

    /// A figure; 0 if the kernel does not have it.
    #[must_use]
    pub fn of(&self, key: &str) -> u64 {
        self.0.get(key).copied().unwrap_or(0)
    }

    /// All figures.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(key, value)| (key.as_str(), *value))
    }

    /// Whether the file has no figure.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How much is used, the limit ([`u64::MAX`] for none), and the most that was ever used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// `current`.
    pub current: u64,
    /// `max`.
    pub limit: u64,
    /// `peak`.
    pub peak: u64,
}

/// A line of pressure-stall information: shares of time in per cent, and the total in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stalled {
    /// Of the last 10 seconds.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last 5 minutes.
    pub avg300: f64,
    /// In all.
    pub total: u64,
}

/// Pressure-stall information (Documentation/accounting/psi.rst).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// Some tasks waited.
    pub some: Option<Stalled>,
    /// All tasks waited.
    pub full: Option<Stalled>,
}

impl Pressure {
    fn parse(text: &str) -> Self {
        let mut pressure = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let place = match words.next() {
                Some("some") => &mut pressure.some,
                Some("full") => &mut pressure.full,
                _ => continue,
            };
            let mut stalled = Stalled::default();
            for (key, value) in words.filter_map(|word| word.split_once('=')) {
                match key {
                    "avg10" => stalled.avg10 = value.parse().unwrap_or(0.0),
                    "avg60" => stalled.avg60 = value.parse().unwrap_or(0.0),
                    "avg300" => stalled.avg300 = value.parse().unwrap_or(0.0),
                    "total" => stalled.total = number(value),
                    _ => {}
                }
            }
            *place = Some(stalled);
        }
        pressure
    }
}

/// The figures of one block device: bytes and operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Device {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// Bytes read.
    pub rbytes: u64,
    /// Bytes written.
    pub wbytes: u64,
    /// Reads.
    pub rios: u64,
    /// Writes.
    pub wios: u64,
}

impl Device {
    /// Reads lines of the form `MAJOR:MINOR rbytes=… wbytes=… rios=… wios=… …`.
    fn parse(text: &str) -> Vec<Self> {
        let device = |line: &str| {
            let mut words = line.split_whitespace();
            let (major, minor) = words.next()?.split_once(':')?;
            let mut device = Self { major: number(major), minor: number(minor), ..Self::default() };
            for (key, value) in words.filter_map(|word| word.split_once('=')) {
                match key {
                    "rbytes" => device.rbytes = number(value),
                    "wbytes" => device.wbytes = number(value),
                    "rios" => device.rios = number(value),
                    "wios" => device.wios = number(value),
                    _ => {}
                }
            }
            Some(device)
        };
        text.lines().filter_map(device).collect()
    }
}

/// Handles and objects of one RDMA device; [`u32::MAX`] for no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rdma {
    /// The device's name.
    pub device: String,
    /// `hca_handle`.
    pub handles: u32,
    /// `hca_object`.
    pub objects: u32,
}

impl Rdma {
    /// Reads lines of the form `DEVICE hca_handle=… hca_object=…`.
    fn parse(text: &str) -> Vec<Self> {
        let entry = |line: &str| {
            let mut words = line.split_whitespace();
            let mut entry = Self { device: words.next()?.to_owned(), handles: 0, objects: 0 };
            for (key, value) in words.filter_map(|word| word.split_once('=')) {
                let value = u32::try_from(number(value)).unwrap_or(u32::MAX);
                match key {
                    "hca_handle" => entry.handles = value,
                    "hca_object" => entry.objects = value,
                    _ => {}
                }
            }
            Some(entry)
        };
        text.lines().filter_map(entry).collect()
    }
}

/// The huge pages of one size, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HugePages {
    /// The size as the cgroup's files have it, such as `2MB`.
    pub size: String,
    /// In use.
    pub current: u64,
    /// The limit; [`u64::MAX`] for none.
    pub limit: u64,
    /// How often the limit was reached.
    pub failures: u64,
}

/// The figures of a cgroup.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// `cpu.stat`.
    pub cpu: Flat,
    /// `cpu.pressure`.
    pub cpu_pressure: Option<Pressure>,
    /// `memory.stat`.
    pub memory: Flat,
    /// Bytes of memory.
    pub memory_usage: Usage,
    /// Bytes of swap.
    pub swap: Usage,
    /// `memory.events`.
    pub memory_events: Flat,
    /// `memory.pressure`.
    pub memory_pressure: Option<Pressure>,
    /// The number of tasks; there is no peak.
    pub pids: Usage,
    /// `io.stat`.
    pub io: Vec<Device>,
    /// `io.pressure`.
    pub io_pressure: Option<Pressure>,
    /// `rdma.current`.
    pub rdma: Vec<Rdma>,
    /// `rdma.max`.
    pub rdma_limits: Vec<Rdma>,
    /// Huge pages, for each size of this host.
    pub huge_pages: Vec<HugePages>,
}

impl Figures {
    /// Reads the figures of the cgroup whose directory is `dir`.
    #[must_use]
    pub fn read(dir: &Path) -> Self {
        let text = |name: &str| std::fs::read_to_string(dir.join(name));
        let or_none = |name: &str| text(name).unwrap_or_default();
        let flat = |name: &str| Flat::parse(&or_none(name));
        // On a kernel that does not measure pressure, the file is missing or cannot be read.
        let pressure = |name: &str| text(name).ok().map(|text| Pressure::parse(&text));
        let figure = |name: &str| number(or_none(name).trim());
        let usage = |part: &str| Usage {
            current: figure(&format!("{part}.current")),
            limit: figure(&format!("{part}.max")),
            peak: figure(&format!("{part}.peak")),
        };
        let huge = |size: String| HugePages {
            current: figure(&format!("hugetlb.{size}.current")),
            limit: figure(&format!("hugetlb.{size}.max")),
            failures: flat(&format!("hugetlb.{size}.events")).of("max"),
            size,
        };
        Self {
            cpu: flat("cpu.stat"),
            cpu_pressure: pressure("cpu.pressure"),
            memory: flat("memory.stat"),
            memory_usage: usage("memory"),
            swap: usage("memory.swap"),
            memory_events: flat("memory.events"),
            memory_pressure: pressure("memory.pressure"),
            pids: usage("pids"),
            io: Device::parse(&or_none("io.stat")),
            io_pressure: pressure("io.pressure"),
            rdma: Rdma::parse(&or_none("rdma.current")),
            rdma_limits: Rdma::parse(&or_none("rdma.max")),
            huge_pages: huge_page_sizes().into_iter().map(huge).collect(),
        }
    }
}

/// The sizes of this host's huge pages, as a cgroup's files name them.
fn huge_page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir(HUGE_PAGES).into_iter().flatten().flatten();
    let size = |name: &str| {
        let kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        Some((kib, huge_page_size(kib)))
    };
    let mut sizes: Vec<(u64, String)> =
        entries.filter_map(|entry| size(entry.file_name().to_str()?)).collect();
    sizes.sort();
    sizes.into_iter().map(|(_, size)| size).collect()
}

/// The kernel's `mem_fmt` (mm/hugetlb_cgroup.c).
fn huge_page_size(kib: u64) -> String {
    match kib {
        1_048_576.. => format!("{}GB", kib >> 20),
        1024.. => format!("{}MB", kib >> 10),
        _ => format!("{kib}KB"),
    }
}

/// A number; `max` is no limit.
fn number(text: &str) -> u64 {
    if text == "max" { u64::MAX } else { text.parse().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_lines_become_devices() {
        let found =
            Device::parse("254:1 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0\n\nx y=1\n");
        assert_eq!(
            found,
            [Device { major: 254, minor: 1, rbytes: 4096, rios: 1, ..Device::default() }]
        );
    }

    #[test]
    fn a_cgroup_that_is_not_there_has_no_figures() {
        let mut figures = Figures::read(Path::new("/nowhere"));
        assert!(figures.huge_pages.iter().all(|pages| pages.current == 0));
        figures.huge_pages.clear();
        assert_eq!(figures, Figures::default());
        assert_eq!(number("max"), u64::MAX);
        assert_eq!(Flat::parse("a 1\nb x\n").iter().collect::<Vec<_>>(), [("a", 1)]);
    }

    #[test]
    fn pressure_and_rdma_are_read_by_their_keys() {
        let found = Pressure::parse(
            "some avg10=1.50 avg60=0.00 avg300=0.25 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
        );
        let some = Stalled { avg10: 1.5, avg300: 0.25, total: 7, ..Stalled::default() };
        assert_eq!(found.some, Some(some));
        assert_eq!(found.full.map(|full| full.total), Some(1));
        let rdma = Rdma::parse("mlx4_0 hca_handle=2 hca_object=max\n");
        let wanted = Rdma { device: "mlx4_0".to_owned(), handles: 2, objects: u32::MAX };
        assert_eq!(rdma, [wanted]);
    }

    #[test]
    fn huge_pages_are_named_as_the_kernel_names_them() {
        let names = [64, 2048, 32_768, 1_048_576].map(huge_page_size);
        assert_eq!(names, ["64KB", "2MB", "32MB", "1GB"]);
    }
}
