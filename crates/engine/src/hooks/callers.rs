//! The caller's hooks.
//!
//! The engine alone would tell a hook about the bundle that the engine reads, which is sharedroot's, and give a hook
//! inside the container no process ID. The engine would run `prestart` and `createRuntime` in the mount namespace that
//! `create` is in by then, run `poststart` before the program is executed, and take a failed `startContainer` hook for
//! a started container. So the engine gets only the hooks of `create`, each behind a [`relay`]. sharedroot runs the
//! others itself, and tells them the caller's bundle.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcontainer::container::{ContainerStatus, State};
use nix::sys::stat::Mode;
use oci_spec::runtime::{Hook, Hooks, Spec};

use super::heard::{ear, repeat};
use super::hook_relay::{self, Where, own_path};
use super::kinds::is_dockers;
use super::later::{EXECUTED, Later};
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

/// Who makes the init process of a container, and runs the hooks meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// sharedroot, which listens to what a hook says.
    Sharedroot,
    /// The engine, which does not listen.
    Engine,
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

    /// Puts a stand-in before each hook that the engine runs. `maker` runs the hooks of the caller's namespaces. No
    /// process listens to the hooks of the container's namespaces.
    pub fn stand_in(&self, engines: &mut Spec, maker: Maker) {
        let Some(hooks) = engines.hooks_mut() else { return };
        let namespace = self.callers.as_deref().map(own_path).unwrap_or_default();
        let ear = self.ear.as_ref().map(own_path).unwrap_or_default();
        let callers = Where::Callers { namespace: &namespace, mask: None };
        let outside = |hook: &Hook| match (maker, is_dockers(hook)) {
            (Maker::Sharedroot, true) => hook.clone(),
            (Maker::Sharedroot, false) => hook_relay::before(hook, &self.bundle, callers, None),
            (Maker::Engine, _) => hook_relay::before(hook, &self.bundle, callers, Some(&ear)),
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
        later.store(dir)?;
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
