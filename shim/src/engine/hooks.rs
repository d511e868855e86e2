//! The caller's hooks.
//!
//! The engine alone would tell a hook of the bundle that it reads, which is ours, and no process ID inside the container.
//! It would run `prestart` and `createRuntime` in whatever mount namespace `create` is in by then, begin with `poststart`
//! before the process is executed, and take a failed `startContainer` hook for a start. So it gets those of `create`
//! only, each behind a [`relay`], and the others are run here, told of the caller's bundle.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcontainer::container::{ContainerStatus, State};
use libcontainer::hooks::{HookError, run_hooks};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use oci_spec::runtime::{Hook, Hooks, Spec};
use serde::{Deserialize, Serialize};

use super::relay::{self, Where};
use super::workload::AtStart;
use crate::log;

/// The file beside the configuration with the hooks that run after `create`.
const LATER: &str = "hooks.json";
/// The FIFO beside it: the container's first process has it open for writing until it executes the user's program.
const EXECUTED: &str = "executed";
const OWN_NAMESPACE: &str = "/proc/self/ns/mnt";

/// The hooks of a container that is being created.
#[derive(Debug, Default)]
pub struct CallersHooks {
    /// The mount namespace of the caller, for the hooks that run there.
    callers: Option<File>,
    later: Option<Later>,
}

/// The hooks that run after `create`, and what they are told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Later {
    /// The caller's bundle.
    bundle: PathBuf,
    /// Whether hooks of `create` may have done what `poststop` undoes.
    early: bool,
    hooks: Hooks,
}

impl CallersHooks {
    /// Takes the hooks out of `spec` and leaves the engine its own. This process must still be in its caller's mount
    /// namespace.
    ///
    /// # Errors
    /// That namespace cannot be opened.
    pub fn take(spec: &mut Spec, bundle: &Path) -> io::Result<Self> {
        let Some(mut hooks) = spec.hooks().clone() else { return Ok(Self::default()) };
        let any = |kind: &Option<Vec<Hook>>| kind.as_ref().is_some_and(|list| !list.is_empty());
        let outside = any(hooks.prestart()) || any(hooks.create_runtime());
        let early = outside || any(hooks.create_container());
        let callers = outside.then(|| File::open(OWN_NAMESPACE)).transpose()?;
        let path = callers.as_ref().map(|open| {
            PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd()))
        });
        let place = |kind: Option<Vec<Hook>>, place: Where<'_>| {
            let stand_in = |hook: &Hook| match is_dockers(hook) {
                true => hook.clone(),
                false => relay::before(hook, bundle, place),
            };
            kind.map(|list| list.iter().map(stand_in).collect())
        };
        let callers_place = Where::Callers(path.as_deref().unwrap_or(Path::new("")));
        let mut engines = Hooks::default();
        engines
            .set_prestart(place(hooks.prestart_mut().take(), callers_place))
            .set_create_runtime(place(hooks.create_runtime_mut().take(), callers_place))
            .set_create_container(place(hooks.create_container_mut().take(), Where::Containers));
        spec.set_hooks(early.then_some(engines));
        let later = hooks != Hooks::default();
        let bundle = bundle.to_owned();
        Ok(Self { callers, later: later.then_some(Later { bundle, early, hooks }) })
    }

    /// Keeps in `dir` what later verbs need, and gives what the container's first process does at its start.
    ///
    /// # Errors
    /// A file cannot be made.
    pub fn keep(&self, dir: &Path, spec: &Spec, id: &str) -> io::Result<AtStart> {
        let mut start =
            AtStart { close: self.callers.as_ref().map(File::as_raw_fd), ..AtStart::default() };
        let Some(later) = &self.later else { return Ok(start) };
        fs::write(dir.join(LATER), serde_json::to_vec(later)?)?;
        if later.waits() {
            let path = dir.join(EXECUTED);
            nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
            // Open for both, it waits for no reader.
            start.executed = Some(Rc::new(File::options().read(true).write(true).open(path)?));
            start.hooks = later.hooks.start_container().clone().unwrap_or_default();
            let mut state = State::new(id, ContainerStatus::Created, None, later.bundle.clone());
            state.annotations.clone_from(spec.annotations());
            start.state = Some(state);
        }
        Ok(start)
    }

    /// Runs the `poststop` hooks of a container that could not be created, if hooks of `create` may have run before.
    pub fn undo(&self, spec: &Spec, id: &str) {
        if let Some(later) = self.later.as_ref().filter(|later| later.early) {
            let mut state = State::new(id, ContainerStatus::Stopped, None, later.bundle.clone());
            state.annotations.clone_from(spec.annotations());
            later.after_end(&state);
        }
    }
}

impl Later {
    /// Reads what `create` kept in `dir`; `None` where there was nothing to keep.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(dir.join(LATER)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether `start` must know what became of the first process.
    fn waits(&self) -> bool {
        self.hooks.poststart().is_some() || self.hooks.start_container().is_some()
    }

    /// Opens the other end of what the first process of the container in `dir` has open.
    ///
    /// # Errors
    /// open(2)'s and fcntl(2)'s.
    pub fn watch(&self, dir: &Path) -> io::Result<Option<Executed>> {
        if !self.waits() {
            return Ok(None);
        }
        // It would wait for a process that has ended.
        let fifo = File::options()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(dir.join(EXECUTED))?;
        fcntl(&fifo, FcntlArg::F_SETFL(OFlag::empty()))?;
        Ok(Some(Executed(fifo)))
    }

    /// Runs the `poststart` hooks.
    ///
    /// # Errors
    /// The first hook that fails. The specification has the container stopped then.
    pub fn after_start(&self, state: &State) -> Result<(), HookFailed> {
        let state = self.told(state);
        let mut hooks = self.hooks.poststart().iter().flatten();
        hooks.try_for_each(|hook| call("poststart", hook, &state, self.cwd(), None))
    }

    /// Runs the `poststop` hooks. One that fails is a warning, and the next one's turn comes.
    pub fn after_end(&self, state: &State) {
        let state = self.told(state);
        for hook in self.hooks.poststop().iter().flatten() {
            if let Err(failed) = call("poststop", hook, &state, self.cwd(), None) {
                tracing::warn!("{}", log::chain(&failed));
            }
        }
    }

    fn told(&self, state: &State) -> State {
        State { bundle: self.bundle.clone(), ..state.clone() }
    }

    /// Where the hooks run, as with crun. The caller may have removed it by now.
    fn cwd(&self) -> Option<&Path> {
        self.bundle.is_dir().then_some(&self.bundle)
    }
}

/// A hook that failed.
#[derive(Debug, thiserror::Error)]
#[error("{kind} hook {path}: {source}")]
pub struct HookFailed {
    kind: &'static str,
    path: PathBuf,
    source: Heard,
}

/// A hook's failure, with what the hook wrote to standard error: that is all that a user has who sees Docker's message only.
#[derive(Debug, thiserror::Error)]
#[error("{failed}{}{said}", if said.is_empty() { "" } else { ", stderr: " })]
pub struct Heard {
    failed: String,
    said: String,
}

/// How much of that goes into a message: its end.
const HEARD: usize = 1024;

/// Runs hooks and listens to what they write to standard error, which gets all of it afterwards. Not for a process of the
/// container: its filter is for its program.
///
/// # Errors
/// [`Heard`].
pub fn heard(hooks: impl FnOnce() -> Result<(), HookError>) -> Result<(), Heard> {
    let Ok((own, mut ear)) = listen() else {
        return hooks().map_err(|error| Heard::unheard(&error));
    };
    let ran = hooks();
    let restored = nix::unistd::dup2_stderr(&own);
    let _ = ear.rewind().and_then(|()| io::copy(&mut ear, &mut File::from(own)));
    if let Err(error) = restored {
        tracing::warn!("take standard error back from a hook: {error}");
    }
    ran.map_err(|error| {
        let mut said = Vec::new();
        let length = ear.metadata().map_or(0, |found| found.len());
        let _ = ear
            .seek(SeekFrom::Start(length.saturating_sub(HEARD as u64)))
            .and_then(|_| ear.read_to_end(&mut said));
        let said = String::from_utf8_lossy(&said).trim().replace('\n', " ");
        Heard { said, ..Heard::unheard(&error) }
    })
}

/// Puts a file in memory in the place of standard error; returns both.
fn listen() -> io::Result<(OwnedFd, File)> {
    let own = io::stderr().as_fd().try_clone_to_owned()?;
    let ear = rustix::fs::memfd_create("hook", rustix::fs::MemfdFlags::CLOEXEC)?;
    nix::unistd::dup2_stderr(&ear)?;
    Ok((own, File::from(ear)))
}

impl Heard {
    fn unheard(error: &HookError) -> Self {
        Self { failed: log::chain(error), said: String::new() }
    }
}

/// The kind of hook that runs in the container's first process.
pub const START_CONTAINER: &str = "startContainer";

/// Runs one hook. Without an environment of its own it has `environment`.
///
/// # Errors
/// [`HookFailed`].
pub fn call(
    kind: &'static str,
    hook: &Hook,
    state: &State,
    cwd: Option<&Path>,
    environment: Option<&HashMap<String, String>>,
) -> Result<(), HookFailed> {
    let run = || run_hooks(Some(&vec![hook.clone()]), Some(state), cwd, None, environment);
    let ran = if kind == START_CONTAINER {
        run().map_err(|error| Heard::unheard(&error))
    } else {
        heard(run)
    };
    ran.map_err(|source| HookFailed { kind, path: hook.path().clone(), source })
}

/// What becomes of the first process once it is told to start.
#[derive(Debug)]
pub struct Executed(File);

impl Executed {
    /// Waits until it executes the user's program, or ends.
    ///
    /// # Errors
    /// Its own words if it could not.
    pub fn wait(mut self) -> Result<(), String> {
        let mut words = String::new();
        self.0.read_to_string(&mut words).map_err(|e| format!("wait for the program: {e}"))?;
        if words.is_empty() { Ok(()) } else { Err(words) }
    }
}

/// Says in the first process why it will not execute the user's program.
pub fn tell(executed: &File, why: &str) {
    // Nobody reads if `start` is gone.
    let mut end: &File = executed;
    let _ = end.write_all(why.as_bytes());
}

/// The first hook that may write into the root before the container starts. What a hook does is not known: those of these
/// three kinds run while the root can be written, and the ones for GPUs make files there.
#[must_use]
pub fn may_write_root(spec: &Spec) -> Option<&Path> {
    let hooks = spec.hooks().as_ref()?;
    let kinds = [hooks.prestart(), hooks.create_runtime(), hooks.create_container()];
    let mut all = kinds.into_iter().flatten().flatten();
    all.find(|hook| !is_dockers(hook) && !is_nerdctls(hook)).map(|hook| hook.path().as_path())
}

/// Whether it is the hook of every container of nerdctl's, for its network: `nerdctl … internal oci-hook createRuntime`.
fn is_nerdctls(hook: &Hook) -> bool {
    let args = hook.args().as_deref().unwrap_or_default();
    args.windows(2).any(|pair| pair == ["internal", "oci-hook"])
}

/// Whether it is the hook of every container of Docker's, which hands a network namespace to the daemon. It asks for the
/// process ID only, and mounts nothing, so it needs no stand-in and may run wherever the engine is.
fn is_dockers(hook: &Hook) -> bool {
    hook.args().as_ref().and_then(|args| args.first()).is_some_and(|a| a == "libnetwork-setkey")
}
