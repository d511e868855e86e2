//! The caller's hooks.
//!
//! The engine alone would tell a hook about the bundle that the engine reads, which is sharedroot's, and give a hook
//! inside the container no process ID. The engine would run `prestart` and `createRuntime` in the mount namespace that
//! `create` is in by then, run `poststart` before the program is executed, and take a failed `startContainer` hook for
//! a started container. So the engine gets only the hooks of `create`, each behind a [`relay`]. sharedroot runs the
//! others itself, and tells them the caller's bundle.

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
use sharedroot_sys::signal;

use super::hook_relay::{self, Where};
use crate::process::child::callers_mask;
use crate::seccomp::filter::Late;

/// What the first process of a container does before it executes the user's program.
#[derive(Debug, Clone, Default)]
pub struct AtStart {
    /// The seccomp filter, if the engine would load it too early.
    pub filter: Option<Late>,
    /// An inherited descriptor, which must be closed before the process waits.
    pub close: Option<RawFd>,
    /// execve(2) closes this descriptor. If the program cannot be executed, the process writes the reason to it.
    pub executed: Option<Rc<File>>,
    /// The `startContainer` hooks.
    pub hooks: Vec<Hook>,
    /// Receives what the hooks write to standard error.
    pub ear: Option<Rc<File>>,
    /// The state that the hooks get.
    pub state: Option<State>,
}

/// The file beside the configuration that holds the hooks which run after `create`.
const LATER: &str = "hooks.json";
/// The FIFO beside the configuration. The container's first process has it open for writing until that process executes
/// the user's program.
const EXECUTED: &str = "executed";
const OWN_NAMESPACE: &str = "/proc/self/ns/mnt";

/// The hooks of a container that is being created.
#[derive(Debug, Default)]
pub struct CallersHooks {
    /// The caller's mount namespace, in which some hooks run.
    callers: Option<Rc<File>>,
    /// The standard error of hooks that the engine calls while sharedroot cannot listen. Each hook's text begins with
    /// [`hook_relay::BEGAN`].
    ear: Option<File>,
    bundle: PathBuf,
    later: Option<Later>,
}

/// The hooks that run after `create`, and the state that they get.
#[derive(Debug, Serialize, Deserialize)]
pub struct Later {
    /// The caller's bundle.
    bundle: PathBuf,
    /// Whether hooks of `create` may have done what `poststop` hooks undo.
    early: bool,
    hooks: Hooks,
}

impl CallersHooks {
    /// Takes the hooks that sharedroot runs out of `spec`, and leaves the engine's hooks in it. This process must still
    /// be in its caller's mount namespace.
    ///
    /// # Errors
    /// The namespace cannot be opened, or the file in memory cannot be made.
    pub fn take(spec: &mut Spec, bundle: &Path) -> io::Result<Self> {
        let Some(mut hooks) = spec.hooks().clone() else { return Ok(Self::default()) };
        let any = |kind: &Option<Vec<Hook>>| kind.as_ref().is_some_and(|list| !list.is_empty());
        let before = any(hooks.prestart()) || any(hooks.create_runtime());
        let early = before || any(hooks.create_container());
        let ear = early.then(ear).transpose()?;
        let mut engines = Hooks::default();
        engines
            .set_prestart(hooks.prestart_mut().take())
            .set_create_runtime(hooks.create_runtime_mut().take())
            .set_create_container(hooks.create_container_mut().take());
        spec.set_hooks(early.then_some(engines));
        let later = hooks != Hooks::default();
        let callers =
            (before || later).then(|| File::open(OWN_NAMESPACE)).transpose()?.map(Rc::new);
        let bundle = bundle.to_owned();
        let later = later.then(|| Later { bundle: bundle.clone(), early, hooks });
        Ok(Self { callers, ear, bundle, later })
    }

    /// Puts a stand-in before each hook that the engine runs. `listened` says whether the process that runs the hooks
    /// of the caller's namespaces listens to them. No process listens to the hooks of the container's namespaces.
    pub fn stand_in(&self, engines: &mut Spec, listened: bool) {
        let Some(hooks) = engines.hooks_mut() else { return };
        let namespace = self.callers.as_deref().map(own_path).unwrap_or_default();
        let ear = self.ear.as_ref().map(own_path).unwrap_or_default();
        let callers = Where::Callers { namespace: &namespace, mask: None };
        let outside = |hook: &Hook| match (listened, is_dockers(hook)) {
            (true, true) => hook.clone(),
            (true, false) => hook_relay::before(hook, &self.bundle, callers, None),
            (false, _) => hook_relay::before(hook, &self.bundle, callers, Some(&ear)),
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

    /// Stores in `dir` what later verbs need, and returns what the container's first process must do at its start.
    ///
    /// # Errors
    /// A file cannot be made.
    pub fn keep(&self, dir: &Path, spec: &Spec, id: &str) -> io::Result<AtStart> {
        let mut start =
            AtStart { close: self.callers.as_deref().map(File::as_raw_fd), ..AtStart::default() };
        let Some(later) = &self.later else { return Ok(start) };
        fs::write(dir.join(LATER), serde_json::to_vec(later)?)?;
        if later.waits() {
            let path = dir.join(EXECUTED);
            nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
            // It is open for reading and writing, so that open(2) does not wait for a reader.
            start.executed = Some(Rc::new(File::options().read(true).write(true).open(path)?));
            start.hooks = later.hooks.start_container().clone().unwrap_or_default();
            // The file is made here, because the filter of the container's program may forbid memfd_create(2) there.
            start.ear = (!start.hooks.is_empty()).then(ear).transpose()?.map(Rc::new);
            let mut state = State::new(id, ContainerStatus::Created, None, later.bundle.clone());
            state.annotations.clone_from(spec.annotations());
            start.state = Some(state);
        }
        Ok(start)
    }

    /// Writes the kept standard error of the hooks to this process's standard error. Returns the end of the text of the
    /// hook that began last: if a hook failed, that is the one.
    #[must_use]
    pub fn repeat(&self) -> Option<String> {
        let said = repeat(self.ear.as_ref()?, &mut io::stderr().lock());
        (!said.is_empty()).then_some(said)
    }

    /// Runs the `poststop` hooks of a container that could not be created, if hooks of `create` may have run.
    pub fn undo(&self, spec: &Spec, id: &str) {
        if let Some(later) = self.later.as_ref().filter(|later| later.early) {
            let mut state = State::new(id, ContainerStatus::Stopped, None, later.bundle.clone());
            state.annotations.clone_from(spec.annotations());
            later.after_end(&state, self.callers.as_deref());
        }
    }

    /// The mount namespace of the caller, for [`Later`].
    #[must_use]
    pub fn callers(&self) -> Option<Rc<File>> {
        self.callers.clone()
    }
}

/// The path of an open file of this process, for the processes that it starts.
fn own_path(open: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd()))
}

impl Later {
    /// Reads what [`CallersHooks::keep`] stored in `dir`; `None` if nothing was stored.
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

    /// Whether `start` must learn whether the first process executed the program.
    fn waits(&self) -> bool {
        self.hooks.poststart().is_some() || self.hooks.start_container().is_some()
    }

    /// Opens the reading end of the FIFO that the first process of the container in `dir` has open for writing.
    ///
    /// # Errors
    /// open(2)'s and fcntl(2)'s.
    pub fn watch(&self, dir: &Path) -> io::Result<Option<Executed>> {
        if !self.waits() {
            return Ok(None);
        }
        // Without O_NONBLOCK, open(2) would wait for ever if the process has ended.
        let fifo = File::options()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(dir.join(EXECUTED))?;
        fcntl(&fifo, FcntlArg::F_SETFL(OFlag::empty()))?;
        Ok(Some(Executed(fifo)))
    }

    /// Runs the `poststart` hooks. `callers` is the caller's mount namespace in a process that may have left it, and may block
    /// signals that its caller does not (`run`).
    ///
    /// # Errors
    /// The first hook that fails. runtime-spec: the container is then stopped.
    pub fn after_start(&self, state: &State, callers: Option<&File>) -> Result<(), HookFailed> {
        let state = self.told(state);
        let mut hooks = self.hooks.poststart().iter().flatten();
        hooks.try_for_each(|hook| self.call("poststart", hook, &state, callers))
    }

    /// Runs the `poststop` hooks. If a hook fails, that is a warning, and the next hook runs.
    pub fn after_end(&self, state: &State, callers: Option<&File>) {
        let state = self.told(state);
        for hook in self.hooks.poststop().iter().flatten() {
            if let Err(failed) = self.call("poststop", hook, &state, callers) {
                tracing::warn!("{}", chain(&failed));
            }
        }
    }

    fn call(
        &self,
        kind: &'static str,
        hook: &Hook,
        state: &State,
        callers: Option<&File>,
    ) -> Result<(), HookFailed> {
        let run = match callers.map(own_path) {
            Some(namespace) => {
                let place = Where::Callers { namespace: &namespace, mask: callers_mask() };
                hook_relay::before(hook, &self.bundle, place, None)
            }
            None => hook.clone(),
        };
        if let Err(error) = signal::handle_ignored() {
            tracing::warn!(
                "{kind} hook {}: it ignores what its caller ignores: {error}",
                hook.path().display()
            );
        }
        let ran = heard(|| run_hooks(Some(&vec![run]), Some(state), self.cwd(), None, None));
        ran.map_err(|source| HookFailed { kind, path: hook.path().clone(), source })
    }

    fn told(&self, state: &State) -> State {
        State { bundle: self.bundle.clone(), ..state.clone() }
    }

    /// The hooks' working directory, as with crun. The caller may have removed it by now.
    fn cwd(&self) -> Option<&Path> {
        self.bundle.is_dir().then_some(&self.bundle)
    }
}

/// A hook failed.
#[derive(Debug, thiserror::Error)]
#[error("{kind} hook {path}: {source}")]
pub struct HookFailed {
    kind: &'static str,
    path: PathBuf,
    source: Heard,
}

/// A hook's failure, with the hook's standard error: a user who sees only Docker's message has nothing else.
#[derive(Debug, thiserror::Error)]
#[error("{failed}{}{said}", if said.is_empty() { "" } else { ", stderr: " })]
pub struct Heard {
    failed: String,
    said: String,
}

/// How many bytes of a hook's standard error a message has: its end.
const HEARD: usize = 1024;

/// Runs hooks, and keeps what they write to standard error. Afterwards all of it is written to this process's standard
/// error.
///
/// # Errors
/// [`Heard`].
pub fn heard(hooks: impl FnOnce() -> Result<(), HookError>) -> Result<(), Heard> {
    match ear() {
        Ok(ear) => heard_by(&ear, hooks),
        Err(_) => hooks().map_err(|error| Heard::unheard(&error)),
    }
}

/// Does the work of [`heard`] with a file that was made before; the file's content is dropped.
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

/// Makes a file in memory for the hooks' standard error.
fn ear() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("hook", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

/// Replaces standard error by the emptied file `ear`, and returns the former standard error.
fn listen(mut ear: &File) -> io::Result<OwnedFd> {
    let own = io::stderr().as_fd().try_clone_to_owned()?;
    ear.set_len(0)?;
    ear.rewind()?;
    nix::unistd::dup2_stderr(ear)?;
    Ok(own)
}

/// Writes all of `ear` to `to`. Returns, in one line, the end of the text of the hook that began last.
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

/// Runs one `startContainer` hook, in the container's first process. If the hook has no environment of its own, the
/// hook has `environment`.
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

/// Tells whether the first process has executed the user's program, after it was told to start.
#[derive(Debug)]
pub struct Executed(File);

impl Executed {
    /// Waits until the process executes the user's program, or ends.
    ///
    /// # Errors
    /// The reason that the process wrote, if it could not execute the program.
    pub fn wait(mut self) -> Result<(), String> {
        let mut words = String::new();
        self.0.read_to_string(&mut words).map_err(|e| format!("wait for the program: {e}"))?;
        if words.is_empty() { Ok(()) } else { Err(words) }
    }
}

/// In the first process: writes why it will not execute the user's program.
pub fn tell(executed: &File, why: &str) {
    // The write fails if `start` has ended; then there is no reader.
    let mut end: &File = executed;
    let _ = end.write_all(why.as_bytes());
}

/// The first hook that may write into the root before the container starts. The effect of a hook is unknown: hooks of
/// these three kinds run while the root is writable, and the hooks for GPUs make files there.
#[must_use]
pub fn may_write_root(spec: &Spec) -> Option<&Path> {
    let hooks = spec.hooks().as_ref()?;
    let kinds = [hooks.prestart(), hooks.create_runtime(), hooks.create_container()];
    let mut all = kinds.into_iter().flatten().flatten();
    all.find(|hook| !is_dockers(hook) && !is_nerdctls(hook)).map(|hook| hook.path().as_path())
}

/// Whether the hook is the one that nerdctl gives every container, for its network: `nerdctl … internal oci-hook
/// createRuntime`.
fn is_nerdctls(hook: &Hook) -> bool {
    let args = hook.args().as_deref().unwrap_or_default();
    args.windows(2).any(|pair| pair == ["internal", "oci-hook"])
}

/// Whether the hook is the one that Docker gives every container, which passes a network namespace to the daemon. That
/// hook only needs the process ID, and mounts nothing. So it needs no stand-in, and may run in any mount namespace.
fn is_dockers(hook: &Hook) -> bool {
    hook.args().as_ref().and_then(|args| args.first()).is_some_and(|a| a == "libnetwork-setkey")
}
