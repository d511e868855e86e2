//! A hook's standard error: the caller sees it, and the message of a hook that fails has its end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use libcontainer::container::State;
use libcontainer::hooks::{HookError, run_hooks};
use oci_spec::runtime::Hook;
use sharedroot_sys::chain::chain;

use super::hook_relay;

/// A hook failed.
#[derive(Debug, thiserror::Error)]
#[error("{kind} hook {path}")]
pub struct HookFailed {
    kind: &'static str,
    path: PathBuf,
    source: Heard,
}

impl HookFailed {
    /// Makes the failure of a hook of this kind.
    pub(super) fn of(kind: &'static str, hook: &Hook) -> impl FnOnce(Heard) -> Self {
        let path = hook.path().clone();
        move |source| Self { kind, path, source }
    }
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
pub(super) fn ear() -> io::Result<File> {
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
pub(super) fn repeat(mut ear: &File, to: &mut impl Write) -> String {
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
    ran.map_err(HookFailed::of("startContainer", hook))
}
