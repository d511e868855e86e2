//! The caller's hooks.
//!
//! The engine alone would tell a hook of the bundle that it reads, which is ours, and no process ID inside the container.
//! It would run `prestart` and `createRuntime` in whatever mount namespace `create` is in by then, begin with `poststart`
//! before the process is executed, and take a failed `startContainer` hook for a start. So it gets those of `create`
//! only, each behind a [`relay`], and the others are run here, told of the caller's bundle.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, ErrorKind, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcontainer::container::{ContainerStatus, State};
use libcontainer::hooks::{HookError, run_hooks};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use oci_spec::runtime::{Hook, Hooks, Spec};
use serde::{Deserialize, Serialize};
use sharedroot_sys::chain::chain;

use super::hook_relay::{self, Where};
use crate::seccomp::filter::Late;

/// What the first process of a container does besides executing the user's program.
#[derive(Debug, Clone, Default)]
pub struct AtStart {
    /// The filter, where the engine would load it too early.
    pub filter: Option<Late>,
    /// A descriptor that it inherited and that must not be there while it waits.
    pub close: Option<RawFd>,
    /// Closed by execve(2), and written to if there is none.
    pub executed: Option<Rc<File>>,
    /// The `startContainer` hooks.
    pub hooks: Vec<Hook>,
    /// Takes what they say.
    pub ear: Option<Rc<File>>,
    /// What they are told.
    pub state: Option<State>,
}

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
    /// What hooks say that the engine calls where nobody listens: each begins with [`hook_relay::BEGAN`].
    ear: Option<File>,
    bundle: PathBuf,
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
    /// That namespace cannot be opened, or a file in memory cannot be made.
    pub fn take(spec: &mut Spec, bundle: &Path) -> io::Result<Self> {
        let Some(mut hooks) = spec.hooks().clone() else { return Ok(Self::default()) };
        let any = |kind: &Option<Vec<Hook>>| kind.as_ref().is_some_and(|list| !list.is_empty());
        let before = any(hooks.prestart()) || any(hooks.create_runtime());
        let early = before || any(hooks.create_container());
        let callers = before.then(|| File::open(OWN_NAMESPACE)).transpose()?;
        let ear = early.then(ear).transpose()?;
        let mut engines = Hooks::default();
        engines
            .set_prestart(hooks.prestart_mut().take())
            .set_create_runtime(hooks.create_runtime_mut().take())
            .set_create_container(hooks.create_container_mut().take());
        spec.set_hooks(early.then_some(engines));
        let later = hooks != Hooks::default();
        let bundle = bundle.to_owned();
        let later = later.then(|| Later { bundle: bundle.clone(), early, hooks });
        Ok(Self { callers, ear, bundle, later })
    }

    /// Puts a stand-in before each hook of the engine's. `listened` is whether who runs those of the caller's namespaces listens
    /// to them; nobody listens to those of the container's.
    pub fn stand_in(&self, engines: &mut Spec, listened: bool) {
        let Some(hooks) = engines.hooks_mut() else { return };
        let path = self.callers.as_ref().map(own_path).unwrap_or_default();
        let ear = self.ear.as_ref().map(own_path).unwrap_or_default();
        let outside = |hook: &Hook| match (listened, is_dockers(hook)) {
            (true, true) => hook.clone(),
            (true, false) => hook_relay::before(hook, &self.bundle, Where::Callers(&path), None),
            (false, _) => hook_relay::before(hook, &self.bundle, Where::Callers(&path), Some(&ear)),
        };
        let inside =
            |hook: &Hook| hook_relay::before(hook, &self.bundle, Where::Containers, Some(&ear));
        for hook in hooks.prestart_mut().iter_mut().flatten() {
            *hook = outside(hook);
        }
        for hook in hooks.create_runtime_mut().iter_mut().flatten() {
            *hook = outside(hook);
        }
        for hook in hooks.create_container_mut().iter_mut().flatten() {
            *hook = inside(hook);
        }
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
            // Made here: the filter of the container's program may forbid it there.
            start.ear = (!start.hooks.is_empty()).then(ear).transpose()?.map(Rc::new);
            let mut state = State::new(id, ContainerStatus::Created, None, later.bundle.clone());
            state.annotations.clone_from(spec.annotations());
            start.state = Some(state);
        }
        Ok(start)
    }

    /// Says again what hooks said to whom nobody listened, and returns the end of what the last of them said that began, which is
    /// the one that failed if any did.
    #[must_use]
    pub fn repeat(&self) -> Option<String> {
        let said = repeat(self.ear.as_ref()?, &mut io::stderr().lock());
        (!said.is_empty()).then_some(said)
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

/// This process's open file, for the processes that it starts.
fn own_path(open: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd()))
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
        hooks.try_for_each(|hook| call("poststart", hook, &state, self.cwd()))
    }

    /// Runs the `poststop` hooks. One that fails is a warning, and the next one's turn comes.
    pub fn after_end(&self, state: &State) {
        let state = self.told(state);
        for hook in self.hooks.poststop().iter().flatten() {
            if let Err(failed) = call("poststop", hook, &state, self.cwd()) {
                tracing::warn!("{}", chain(&failed));
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

/// Runs hooks and listens to what they write to standard error, which gets all of it afterwards.
///
/// # Errors
/// [`Heard`].
pub fn heard(hooks: impl FnOnce() -> Result<(), HookError>) -> Result<(), Heard> {
    match ear() {
        Ok(ear) => heard_by(&ear, hooks),
        Err(_) => hooks().map_err(|error| Heard::unheard(&error)),
    }
}

/// The same with a file that was made before, whatever is in it.
fn heard_by(ear: &File, hooks: impl FnOnce() -> Result<(), HookError>) -> Result<(), Heard> {
    let Ok(own) = listen(ear) else {
        return hooks().map_err(|error| Heard::unheard(&error));
    };
    let ran = hooks();
    let restored = nix::unistd::dup2_stderr(&own);
    let said = repeat(ear, &mut File::from(own));
    if let Err(error) = restored {
        tracing::warn!("take standard error back from a hook: {error}");
    }
    ran.map_err(|error| Heard { said, ..Heard::unheard(&error) })
}

/// A file in memory for what a hook says.
fn ear() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("hook", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

/// Puts an empty `ear` in the place of standard error, which is returned.
fn listen(mut ear: &File) -> io::Result<OwnedFd> {
    let own = io::stderr().as_fd().try_clone_to_owned()?;
    ear.set_len(0)?;
    ear.rewind()?;
    nix::unistd::dup2_stderr(ear)?;
    Ok(own)
}

/// Says all of it again, and returns in one line the end of what the last one said who began to speak.
fn repeat(mut ear: &File, to: &mut impl Write) -> String {
    let _ = ear.rewind();
    let (mut ears, mut last) = (io::BufReader::new(ear), Vec::new());
    let mut said = Vec::new();
    while ears.read_until(hook_relay::BEGAN, &mut said).is_ok_and(|read| read > 0) {
        let other_began = said.pop_if(|end| *end == hook_relay::BEGAN).is_some();
        let _ = to.write_all(&said);
        last = std::mem::take(&mut said);
        if other_began {
            last.clear();
        }
    }
    let end = last.split_off(last.len().saturating_sub(HEARD));
    String::from_utf8_lossy(&end).trim().replace('\n', " ")
}

impl Heard {
    fn unheard(error: &HookError) -> Self {
        Self { failed: chain(error), said: String::new() }
    }
}

/// Runs one hook.
///
/// # Errors
/// [`HookFailed`].
fn call(
    kind: &'static str,
    hook: &Hook,
    state: &State,
    cwd: Option<&Path>,
) -> Result<(), HookFailed> {
    let ran = heard(|| run_hooks(Some(&vec![hook.clone()]), Some(state), cwd, None, None));
    ran.map_err(|source| HookFailed { kind, path: hook.path().clone(), source })
}

/// Runs one `startContainer` hook, in the container's first process. Without an environment of its own it has `environment`.
///
/// # Errors
/// [`HookFailed`].
pub fn call_at_start(
    hook: &Hook,
    state: &State,
    environment: &HashMap<String, String>,
    ear: Option<&File>,
) -> Result<(), HookFailed> {
    let run = || run_hooks(Some(&vec![hook.clone()]), Some(state), None, None, Some(environment));
    let ran = match ear {
        Some(ear) => heard_by(ear, run),
        None => run().map_err(|error| Heard::unheard(&error)),
    };
    let failed = |source| HookFailed { kind: "startContainer", path: hook.path().clone(), source };
    ran.map_err(failed)
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
