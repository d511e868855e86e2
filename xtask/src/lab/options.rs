//! The options of a guest. The first comments of the integration tests have these options as well.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

/// The directory in which `hack/lab build` puts the files that every guest needs.
pub const LAB: &str = "target/lab";

/// A guest's hardware, daemons and security modules. A test can run in any guest with equal options.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Args)]
pub struct GuestOptions {
    /// SELinux and the lab's policy
    #[arg(long, value_enum, default_value = "off", value_name = "MODE")]
    pub selinux: Selinux,
    /// One of the policy's booleans is on; may be given more than once
    #[arg(long = "boolean", value_name = "NAME")]
    pub booleans: Vec<String>,
    /// No containerd, no dockerd
    #[arg(long)]
    pub no_docker: bool,
    /// systemd is the guest's init, and Docker uses its cgroup driver; not with SELinux
    #[arg(long)]
    pub systemd: bool,
    /// The guest's memory in GiB
    #[arg(long, default_value = "4", value_name = "GIB", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub mem: u32,
    /// device: /dev/ubdc (8 GiB) and /dev/ubdd (256 MiB) are empty and for a pool
    #[arg(long, value_enum, default_value = "loop", value_name = "KIND")]
    pub pool: Pool,
    /// The kernel; the default is the one that `hack/lab build` found to work
    #[arg(long, value_enum, value_name = "KERNEL")]
    pub kernel: Option<Kernel>,
    /// One more argument for the guest's kernel; may be given more than once
    #[arg(long = "kernel-argument", value_name = "ARGUMENT")]
    pub kernel_arguments: Vec<String>,
    /// containerd, Docker and runc are those of this Debian release, which hack/lab.d/make-engines takes, and not those of Debian 13
    #[arg(long, value_enum, value_name = "RELEASE")]
    pub engines: Option<Engines>,
}

/// A Debian release with other versions of containerd, Docker and runc than the guest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Engines {
    /// Debian unstable: containerd 2.
    Unstable,
}

impl Engines {
    /// The directory of their files, which `hack/lab.d/make-engines` makes.
    pub fn directory(self, lab: &Path) -> PathBuf {
        lab.join(format!("engines-{self}"))
    }
}

impl fmt::Display for Engines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unstable => "unstable",
        })
    }
}

/// SELinux in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Selinux {
    /// The kernel runs without SELinux.
    Off,
    /// The kernel logs denials, and allows the access.
    Permissive,
    /// The kernel denies what the policy does not allow.
    Enforcing,
}

/// The backing of the guest's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Pool {
    /// Files on loop devices.
    Loop,
    /// Two empty block devices.
    Device,
}

/// A User-Mode Linux kernel of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Kernel {
    /// The kernel of Debian testing, with `seccomp=on`. It needs half the processor time of the other kernel.
    Seccomp,
    /// The kernel of Debian 13, which traces its processes.
    Ptrace,
}

impl Kernel {
    /// The kernels that passed the smoke test of the lab's build, the best first.
    pub fn working() -> Result<Vec<Self>> {
        let path = Path::new(LAB).join("kernel");
        let names = std::fs::read_to_string(&path)
            .with_context(|| format!("read {}: run hack/lab build", path.display()))?;
        let kernels = names.lines().map(|name| Self::from_str(name, false));
        let kernels = kernels.collect::<Result<Vec<_>, _>>();
        kernels.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
    }

    /// The kernel of a guest that asks for none.
    pub fn chosen() -> Result<Self> {
        let best = Self::working()?.first().copied();
        best.with_context(|| format!("{LAB}/kernel: no kernel"))
    }

    /// The kernel's executable, which the lab's build makes.
    pub fn executable(self, lab: &Path) -> PathBuf {
        lab.join(format!("linux-{self}"))
    }

    /// The arguments of this kernel, and `more`.
    pub fn arguments(self, more: &[String]) -> Vec<String> {
        let own = match self {
            Self::Seccomp => Some("seccomp=on".to_owned()),
            Self::Ptrace => None,
        };
        own.into_iter().chain(more.iter().cloned()).collect()
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seccomp => "seccomp",
            Self::Ptrace => "ptrace",
        })
    }
}

impl fmt::Display for Selinux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Permissive => "permissive",
            Self::Enforcing => "enforcing",
        })
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loop => "loop",
            Self::Device => "device",
        })
    }
}

impl GuestOptions {
    /// Checks what clap cannot check.
    pub fn check(&self) -> Result<()> {
        ensure!(
            !self.systemd || self.selinux == Selinux::Off,
            "--systemd: the lab's policy has domains for its own init only, leave out --selinux"
        );
        // The words go into a file that the guest's shell reads.
        for word in self.booleans.iter().chain(&self.kernel_arguments) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-.=,/:".contains(c);
            ensure!(word.chars().all(plain), "not a word for the guest: {word:?}");
        }
        Ok(())
    }
}

/// Prints the options as a line, without the options that have their default.
impl fmt::Display for GuestOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.selinux != Selinux::Off {
            words.push(format!("--selinux {}", self.selinux));
        }
        words.extend(self.booleans.iter().map(|name| format!("--boolean {name}")));
        words.extend(self.no_docker.then(|| "--no-docker".to_owned()));
        words.extend(self.systemd.then(|| "--systemd".to_owned()));
        words.extend((self.mem != 4).then(|| format!("--mem {}", self.mem)));
        words.extend((self.pool != Pool::Loop).then(|| format!("--pool {}", self.pool)));
        words.extend(self.kernel.map(|kernel| format!("--kernel {kernel}")));
        words.extend(self.kernel_arguments.iter().map(|a| format!("--kernel-argument {a}")));
        words.extend(self.engines.map(|engines| format!("--engines {engines}")));
        f.write_str(if words.is_empty() { "Docker" } else { "" })?;
        f.write_str(&words.join(" "))
    }
}

/// The options of an empty command line.
impl Default for GuestOptions {
    fn default() -> Self {
        Self {
            selinux: Selinux::Off,
            booleans: vec![],
            no_docker: false,
            systemd: false,
            mem: 4,
            pool: Pool::Loop,
            kernel: None,
            kernel_arguments: vec![],
            engines: None,
        }
    }
}
