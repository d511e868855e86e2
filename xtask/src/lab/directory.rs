//! The directory that a guest shares with its host. In the guest it is `/lab`. It brings settings and scripts to the guest, and
//! the status back.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::thread::CpuSet;

use super::options::{GuestOptions, Kernel, LAB};
use crate::process::succeeds;
use crate::temporary;

/// The beginning of the names of guests' directories.
const PREFIX: &str = "sharedroot-lab.";
/// The file with the ID of the process that created a directory.
const OWNER: &str = "owner";
/// How long before its limit a guest prints its processes.
const WARNING: Duration = Duration::from_secs(15);

/// What one boot needs beyond the guest's options.
#[derive(Debug)]
pub struct Boot<'b> {
    pub options: &'b GuestOptions,
    /// The script to run, and its arguments.
    pub script: &'b Path,
    pub arguments: &'b [String],
    /// The directory that is `/share` in the guest, read-write.
    pub share: Option<&'b Path>,
    /// The directory of disks that are kept after the boot. Without it all disks are fresh.
    pub disks: Option<&'b Path>,
    /// The disk for `/var/lib/docker`, instead of the lab's images.
    pub docker_disk: Option<&'b Path>,
    /// The program that is `/usr/local/bin/sharedroot` in the guest.
    pub program: Option<&'b Path>,
    pub limit: Duration,
    /// Guests with the same number share a processor.
    pub slot: usize,
}

/// The variable that tells `hack/lab run` the slot of the job that calls it.
pub const SLOT: &str = "SHAREDROOT_LAB_SLOT";

/// The directory of one guest. Dropping this value removes the directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    pub fn make(boot: &Boot<'_>) -> Result<Self> {
        boot.options.check()?;
        // Sparse files: a guest's memory and its disks.
        let above = temporary::directory(u64::from(boot.options.mem) + 4);
        sweep(&above);
        let made = Command::new("mktemp")
            .args(["--directory", "--tmpdir", &format!("{PREFIX}XXXXXX")])
            .env("TMPDIR", &above)
            .output()
            .context("start mktemp")?;
        ensure!(made.status.success(), "mktemp: {}", String::from_utf8_lossy(&made.stderr).trim());
        let directory = Self { path: String::from_utf8(made.stdout)?.trim().into() };
        directory.fill(boot).with_context(|| format!("fill {}", directory.path.display()))?;
        Ok(directory)
    }

    fn fill(&self, boot: &Boot<'_>) -> Result<()> {
        let lab = self.lab();
        fs::write(self.path.join(OWNER), std::process::id().to_string())?;
        fs::create_dir(&lab)?;
        for entry in fs::read_dir("hack/lab.d")? {
            let name = entry?.file_name();
            if name.to_string_lossy().starts_with("guest-") {
                fs::copy(Path::new("hack/lab.d").join(&name), lab.join(&name))?;
            }
        }
        let script = boot.script;
        let copied = fs::copy(script, lab.join("script"));
        copied.with_context(|| format!("copy {}", script.display()))?;
        let name = script.file_name().context("a script has a name")?;
        fs::write(lab.join("name"), name.as_encoded_bytes())?;
        let arguments: String = boot.arguments.iter().map(|word| format!("{word}\0")).collect();
        fs::write(lab.join("arguments"), arguments)?;
        if let Some(share) = boot.share {
            symlink(fs::canonicalize(share)?, lab.join("share"))?;
        }
        if let Some(engines) = boot.options.engines {
            let from = engines.directory(Path::new(LAB));
            let from = fs::canonicalize(&from).with_context(|| {
                format!("{}: run hack/lab.d/make-engines {LAB} {engines}", from.display())
            })?;
            symlink(from, lab.join("engines"))?;
        }
        if let Some(program) = boot.program {
            let copied = fs::copy(program, lab.join("sharedroot"));
            copied.with_context(|| format!("copy {}: run hack/build first", program.display()))?;
        }
        let settings = self.settings(boot)?;
        fs::write(lab.join("settings"), settings)?;
        Ok(())
    }

    /// The settings that the guest's scripts and the script that boots the guest read.
    fn settings(&self, boot: &Boot<'_>) -> Result<String> {
        let out = fs::canonicalize(LAB).context("target/lab: run hack/lab build")?;
        let GuestOptions { selinux, booleans, no_docker, systemd, mem, pool, kernel, .. } =
            boot.options;
        let kernel = match kernel {
            Some(kernel) => *kernel,
            None => Kernel::chosen()?,
        };
        let disks = match boot.disks {
            Some(disks) => fs::canonicalize(disks)?,
            None => self.path.clone(),
        };
        let docker_disk = match boot.docker_disk {
            _ if *no_docker => "none".to_owned(),
            Some(disk) => fs::canonicalize(disk)?.display().to_string(),
            None => format!("{}/docker.cow,{}/docker.img", disks.display(), out.display()),
        };
        let yes = |is: bool| if is { "yes" } else { "no" };
        let words = [
            ("selinux", selinux.to_string()),
            ("booleans", booleans.join(" ")),
            ("docker", yes(!no_docker).to_owned()),
            ("systemd", yes(*systemd).to_owned()),
            ("pool", pool.to_string()),
            ("memory", format!("{mem}G")),
            ("processor", processor(boot.slot)?.to_string()),
            ("warn_after", warn_after(boot.limit).as_secs().to_string()),
            ("kernel", kernel.executable(&out).display().to_string()),
            ("kernel_arguments", kernel.arguments(&boot.options.kernel_arguments).join(" ")),
            ("disks", disks.display().to_string()),
            ("docker_disk", docker_disk),
            ("root_image", out.join("root.img").display().to_string()),
        ];
        Ok(words.into_iter().map(|(name, value)| format!("{name}='{value}'\n")).collect())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that is `/lab` in the guest.
    pub fn lab(&self) -> PathBuf {
        self.path.join("lab")
    }

    /// The script's exit code; `None` if the guest has not written it yet.
    pub fn status(&self) -> Option<u8> {
        fs::read_to_string(self.lab().join("status")).ok()?.trim().parse().ok()
    }

    /// A new file for the log of the guest's kernel. Removes logs of earlier days.
    pub fn log() -> Result<(PathBuf, File)> {
        let dir = Path::new(LAB).join("log");
        fs::create_dir_all(&dir)?;
        // Logs of other guests may go meanwhile.
        let find = ["-ignore_readdir_race", "-name", "*.log", "-mtime", "+1", "-delete"];
        succeeds(Command::new("find").arg(&dir).args(find))?;
        for number in 0.. {
            let path = dir.join(format!("{}-{number}.log", std::process::id()));
            match File::create_new(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).context(format!("create {}", path.display())),
            }
        }
        unreachable!("more numbers than files")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("lab: remove {}: {error}", self.path.display());
        }
    }
}

/// The processor of a guest. All of a guest runs on one processor: its kernel and its processes wait for each other at each
/// system call, and waking a process on another processor makes the call half as long again.
fn processor(slot: usize) -> Result<usize> {
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let allowed: Vec<_> = (0..CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number)).collect();
    ensure!(!allowed.is_empty(), "no processor is allowed");
    Ok(allowed[slot % allowed.len()])
}

/// The time after which a guest with this limit prints its processes: well before the limit, and not before the guest is up.
pub fn warn_after(limit: Duration) -> Duration {
    if limit > 2 * WARNING { limit - WARNING } else { limit / 2 }
}

/// Removes the directories of processes that were killed, because a guest's disks may be large.
fn sweep(above: &Path) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let owner = fs::read_to_string(entry.path().join(OWNER));
        if owner.is_ok_and(|pid| !Path::new("/proc").join(pid.trim()).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
