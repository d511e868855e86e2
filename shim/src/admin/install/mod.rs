//! `install` and `uninstall`: this program as a runtime in the configuration of Docker, containerd or podman, and the snapshotter
//! in that of Docker and containerd.
//!
//! An edit changes text into text, and keeps everything else. A receipt keeps the file's earlier text, so that
//! `uninstall` restores every byte. If a user has edited the file since, `uninstall` removes only what `install` added.
//! No daemon is restarted; the output has the command.

mod containerd;
mod docker;
mod error;
mod file;
mod podman;
mod receipt;
mod toml;

use std::path::{Path, PathBuf};

use sharedroot_sys::private_dir::private_dir;
use similar::TextDiff;

pub use error::InstallError;

use super::containerd_shim::installed;
use super::snapshotter;
use crate::cli::{Edit, Install, Target, Uninstall};
use crate::config::Config;
use crate::lifecycle::LifecycleError;
use crate::output::say;
use error::EditError;
use file::ConfigFile;
use receipt::Receipt;

/// The runtime's name: `docker run --runtime=sharedroot`.
const NAME: &str = "sharedroot";

/// The entry that `install` adds.
#[derive(Debug)]
struct Entry {
    /// What the engine runs.
    runs: Runs,
    /// Whether the runtime is the default of containers that name none.
    default: bool,
    /// The snapshotter, if the engine gets it, too.
    snapshotter: Option<Snapshotter>,
}

impl Entry {
    fn chosen(config: &Config, args: &Install) -> Result<Self, InstallError> {
        let runs = Runs::chosen(args)?;
        let snapshotter = match (args.snapshotter, args.target) {
            (false, _) => None,
            (true, Target::Podman) => return Err(InstallError::NoSnapshotters),
            (true, _) if snapshotter::installed().is_none() => {
                return Err(InstallError::SnapshotterNotFound);
            }
            (true, _) => Some(Snapshotter { root: text_of(config.pool.state_dir.clone())? }),
        };
        Ok(Self { runs, default: args.default, snapshotter })
    }
}

/// The snapshotter as containerd knows it.
#[derive(Debug)]
struct Snapshotter {
    /// The directory whose file system holds the pool, or what the pool knows of its devices. kubelet asks for its size.
    root: String,
}

/// What an engine runs for a container.
#[derive(Debug)]
enum Runs {
    /// This program at its path, by a command for each step.
    Commands(String),
    /// containerd's shim, which containerd finds by the runtime type.
    Shim,
}

impl Runs {
    fn chosen(args: &Install) -> Result<Self, InstallError> {
        match (args.shim, args.target) {
            (false, _) => Ok(Self::Commands(this_program()?)),
            (true, Target::Podman) => Err(InstallError::NoShims),
            (true, _) if installed().is_none() => Err(InstallError::ShimNotFound),
            (true, _) => Ok(Self::Shim),
        }
    }
}

/// Adds the runtime, and prints the difference and the next command.
///
/// # Errors
/// [`LifecycleError`]; then the configuration is unchanged.
pub fn install(config: &Config, args: &Install) -> Result<(), LifecycleError> {
    let entry = Entry::chosen(config, args)?;
    change(config, args.target, &args.edit, Some(&entry))
}

/// Removes the runtime, and prints the difference and the next command.
///
/// # Errors
/// [`LifecycleError`]; then the configuration is unchanged.
pub fn uninstall(config: &Config, args: &Uninstall) -> Result<(), LifecycleError> {
    change(config, args.target, &args.edit, None)
}

/// Installs if there is an entry, else uninstalls.
fn change(
    config: &Config,
    target: Target,
    edit: &Edit,
    entry: Option<&Entry>,
) -> Result<(), LifecycleError> {
    let (state_dir, run_dir) = (&config.pool.state_dir, &config.pool.run_dir);
    let _turn = if edit.dry_run {
        None
    } else {
        private_dir(run_dir)?;
        private_dir(state_dir)?;
        Some(receipt::lock(run_dir).map_err(InstallError::from)?)
    };
    let file = ConfigFile::read(edit.config_file.as_deref().unwrap_or(target.usual_file()))?;
    let mut receipts = receipt::read(state_dir).map_err(InstallError::from)?;
    let known = receipts.get(&file.path);
    let Plan { before, after } =
        target.plan(file.text.as_deref(), known, entry).map_err(|cause| {
            let path = file.path.clone();
            InstallError::Edit { path, cause, by_hand: target.by_hand(entry) }
        })?;
    if after == file.text {
        let state = if entry.is_some() { "has" } else { "does not have" };
        say!("nothing to do: {} {state} the runtime {NAME}", file.path.display());
    } else {
        say!("{}", difference(&file, after.as_deref()));
    }
    if edit.dry_run {
        return Ok(());
    }
    let changed = after != file.text;
    // The receipt is written before the change and removed after it, so it exists whenever it is needed.
    if let (Some(after), true) = (&after, changed && entry.is_some()) {
        receipts.insert(file.path.clone(), Receipt::new(before, after));
        receipt::write(state_dir, &receipts).map_err(InstallError::from)?;
    }
    match &after {
        Some(after) if changed => file.replace(after)?,
        None if changed => file.remove()?,
        _ => {}
    }
    if entry.is_none() && receipts.remove(&file.path).is_some() {
        receipt::write(state_dir, &receipts).map_err(InstallError::from)?;
    }
    if changed {
        target.say_what_follows(file.text.as_deref(), after.as_deref());
    }
    Ok(())
}

/// The change of a file; `None` stands for no file.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// The text that `uninstall` restores.
    before: Option<String>,
    /// The text that is written now.
    after: Option<String>,
}

impl Target {
    fn usual_file(self) -> &'static Path {
        Path::new(match self {
            Self::Docker => "/etc/docker/daemon.json",
            Self::Containerd => "/etc/containerd/config.toml",
            Self::Podman => "/etc/containers/containers.conf",
        })
    }

    fn plan(
        self,
        now: Option<&str>,
        receipt: Option<&Receipt>,
        entry: Option<&Entry>,
    ) -> Result<Plan, EditError> {
        let before = match (now, receipt) {
            (None, _) => None,
            (Some(now), Some(receipt)) if receipt.is_for(now) => receipt.before.clone(),
            (Some(now), _) => {
                let known = receipt.map(|receipt| receipt.before.as_deref());
                let rest = self.remove(now, known.flatten().unwrap_or(""))?;
                let ours_alone = known == Some(None) && self.is_empty(&rest);
                (!ours_alone).then_some(rest)
            }
        };
        let after = match entry {
            Some(entry) => Some(self.add(now.unwrap_or(""), entry)?),
            None => before.clone(),
        };
        Ok(Plan { before, after })
    }

    fn add(self, text: &str, entry: &Entry) -> Result<String, EditError> {
        match self {
            Self::Docker => docker::add(text, entry),
            Self::Containerd => containerd::add(text, entry),
            Self::Podman => podman::add(text, entry),
        }
    }

    fn remove(self, text: &str, before: &str) -> Result<String, EditError> {
        match self {
            Self::Docker => docker::remove(text, before),
            Self::Containerd => containerd::remove(text, before),
            Self::Podman => podman::remove(text, before),
        }
    }

    fn is_empty(self, text: &str) -> bool {
        match self {
            Self::Docker => docker::is_empty(text),
            Self::Containerd => containerd::is_empty(text),
            Self::Podman => podman::is_empty(text),
        }
    }

    fn by_hand(self, entry: Option<&Entry>) -> String {
        match entry.map(|entry| self.add("", entry)) {
            Some(Ok(lines)) => format!("add by hand:\n{}", lines.trim_end()),
            _ => format!("remove the runtime {NAME} by hand"),
        }
    }

    fn say_what_follows(self, before: Option<&str>, after: Option<&str>) {
        let (before, after) = (before.unwrap_or(""), after.unwrap_or(""));
        match self {
            Self::Docker => {
                docker::notes(before, after).iter().for_each(|note| say!("note: {note}"));
                say!("now: {}", docker::next(before, after));
            }
            Self::Containerd => {
                containerd::notes(before, after).iter().for_each(|note| say!("note: {note}"));
                say!("now: {}", containerd::next(before, after));
            }
            Self::Podman => say!("now: nothing, podman reads it with every command"),
        }
    }
}

fn difference(file: &ConfigFile, after: Option<&str>) -> String {
    let name = |text: Option<&str>| match text {
        Some(_) => file.path.display().to_string(),
        None => "/dev/null".to_owned(),
    };
    let before = file.text.as_deref();
    let diff = TextDiff::from_lines(before.unwrap_or(""), after.unwrap_or(""));
    let text = diff.unified_diff().header(&name(before), &name(after)).to_string();
    text.trim_end_matches('\n').to_owned()
}

/// The path of this program without symbolic links, because the entry of a daemon must not depend on links.
fn this_program() -> Result<String, InstallError> {
    let find = |source| {
        let path = "/proc/self/exe".into();
        InstallError::File { step: "find this program by", path, source }
    };
    let path = std::env::current_exe().and_then(std::fs::canonicalize).map_err(find)?;
    text_of(path)
}

fn text_of(path: PathBuf) -> Result<String, InstallError> {
    path.into_os_string().into_string().map_err(|path| InstallError::Name { path: path.into() })
}

#[cfg(test)]
mod tests;
