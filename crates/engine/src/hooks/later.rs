//! The hooks that run after `create`: what `start` and `delete` know of them, and when they run.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use libcontainer::container::State;
use libcontainer::hooks::run_hooks;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use oci_spec::runtime::{Hook, Hooks};
use serde::{Deserialize, Serialize};
use sharedroot_sys::chain::chain;
use sharedroot_sys::signal;

use super::heard::{HookFailed, heard};
use super::hook_relay::{self, Where, own_path};
use crate::process::child::callers_mask;

/// The file beside the configuration that holds the hooks which run after `create`.
const LATER: &str = "hooks.json";
/// The FIFO beside the configuration. The container's first process has it open for writing until that process executes
/// the user's program.
pub(super) const EXECUTED: &str = "executed";

/// The hooks that run after `create`, and the state that they get.
#[derive(Debug, Serialize, Deserialize)]
pub struct Later {
    /// The caller's bundle.
    pub(super) bundle: PathBuf,
    /// Whether hooks of `create` may have done what `poststop` hooks undo.
    pub(super) early: bool,
    pub(super) hooks: Hooks,
}

impl Later {
    /// Writes the hooks to `dir`, for later verbs.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn store(&self, dir: &Path) -> io::Result<()> {
        fs::write(dir.join(LATER), serde_json::to_vec(self)?)
    }

    /// Reads what [`Self::store`] wrote to `dir`; `None` if nothing was written.
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
    pub(super) fn waits(&self) -> bool {
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
        ran.map_err(HookFailed::of(kind, hook))
    }

    fn told(&self, state: &State) -> State {
        State { bundle: self.bundle.clone(), ..state.clone() }
    }

    /// The hooks' working directory, as with crun. The caller may have removed it by now.
    fn cwd(&self) -> Option<&Path> {
        self.bundle.is_dir().then_some(&self.bundle)
    }
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
