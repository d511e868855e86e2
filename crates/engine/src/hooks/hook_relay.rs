//! A hook's stand-in: this program, which the engine executes in place of the hook. The stand-in corrects the
//! container's state, enters the hook's mount namespace, blocks the signals that the hook's caller blocks, and executes
//! the hook.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::SigSet;
use oci_spec::runtime::Hook;
use serde_json::{Value, json};
use sharedroot_sys::chain::chain;
use sharedroot_sys::{say_aside, signal};

/// The first argument of this program when it is a stand-in.
const NAME: &str = "sharedroot-hook";
/// This program's path. It is valid in any mount namespace until the root is changed.
const PROGRAM: &str = "/proc/self/exe";

/// The byte that a stand-in writes before its hook writes. It separates the texts of several hooks in one file.
pub const BEGAN: u8 = 0;

/// The namespaces that a hook runs in.
#[derive(Debug, Clone, Copy)]
pub enum Where<'a> {
    /// The namespaces of the process that called `create`.
    Callers {
        /// Leads to the mount namespace.
        namespace: &'a Path,
        /// The signals that are blocked there, if this process blocks others.
        mask: Option<&'a SigSet>,
    },
    /// The container's namespaces.
    Containers,
}

/// A hook could not be executed.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("{step} for the hook {hook}")]
    Step { step: &'static str, hook: PathBuf, source: io::Error },
    #[error("the engine called no hook: {0} arguments")]
    Arguments(usize),
}

/// The hook that the engine runs instead of `hook`. `ear` is the path of the file for the hook's standard error;
/// without it the hook keeps its standard error.
#[must_use]
pub fn before(hook: &Hook, bundle: &Path, place: Where<'_>, ear: Option<&Path>) -> Hook {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (namespace, mask) = match place {
        Where::Callers { namespace, mask } => (text(namespace), mask.map(signal::to_text)),
        Where::Containers => (String::new(), None),
    };
    let (ear, mask) = (ear.map(text).unwrap_or_default(), mask.unwrap_or_default());
    let mut args = vec![NAME.to_owned(), text(bundle), namespace, mask, ear, text(hook.path())];
    let own = hook.args().clone().filter(|own| !own.is_empty());
    args.extend(own.unwrap_or_else(|| vec![text(hook.path())]));
    let mut relay = hook.clone();
    relay.set_path(PROGRAM.into()).set_args(Some(args));
    relay
}

/// If this process is a hook's stand-in, executes the hook, and returns only if that fails. `None` if this process is
/// not a stand-in.
#[must_use]
pub fn stand_in() -> Option<ExitCode> {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.first().is_none_or(|name| name != NAME) {
        return None;
    }
    let Err(error) = execute(&args);
    say_aside!("sharedroot: error: {}", chain(&error));
    Some(ExitCode::FAILURE)
}

fn execute(args: &[OsString]) -> Result<std::convert::Infallible, RelayError> {
    let [_, bundle, namespace, mask, ear, path, name, rest @ ..] = args else {
        return Err(RelayError::Arguments(args.len()));
    };
    let fail = |step| {
        let hook = PathBuf::from(path);
        move |source| RelayError::Step { step, hook, source }
    };
    // A process in a user namespace of its own may not be allowed to open the file; then the hook writes to its
    // inherited standard error.
    if let Ok(mut ear) = File::options().append(true).open(ear) {
        ear.write_all(&[BEGAN]).map_err(fail("speak"))?;
        nix::unistd::dup2_stderr(&ear).map_err(io::Error::from).map_err(fail("speak"))?;
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(fail("read the state"))?;
    let mut state: Value =
        serde_json::from_str(&text).map_err(io::Error::from).map_err(fail("read the state"))?;
    state["bundle"] = json!(bundle.to_string_lossy());
    if namespace.is_empty() {
        // The caller is the container's first process, so the process ID is the one in the container's PID namespace.
        state["pid"] = json!(parent_id());
    } else {
        enter(Path::new(namespace)).map_err(fail("enter the mount namespace of the caller"))?;
        // runc and crun also start the hook there. When a `poststop` hook runs, the bundle may be gone.
        match std::env::set_current_dir(bundle) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            entered => entered.map_err(fail("enter the bundle"))?,
        }
    }
    let stdin = filled(state.to_string().as_bytes()).map_err(fail("pass the state on"))?;
    if let Some(mask) = mask.to_str().and_then(signal::of_text) {
        mask.thread_set_mask().map_err(io::Error::from).map_err(fail("set the signal mask"))?;
    }
    let error = Command::new(path).arg0(name).args(rest).stdin(stdin).exec();
    Err(fail("execute")(error))
}

/// Enters a mount namespace, unless this process is there already.
fn enter(namespace: &Path) -> io::Result<()> {
    let (namespace, own) = (File::open(namespace)?, File::open("/proc/self/ns/mnt")?);
    if namespace.metadata()?.ino() != own.metadata()?.ino() {
        setns(namespace, CloneFlags::CLONE_NEWNS)?;
    }
    Ok(())
}

/// A pipe that contains `text` and then ends. The text is written before there is a reader.
fn filled(text: &[u8]) -> io::Result<io::PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    let wanted = i32::try_from(text.len()).map_err(io::Error::other)?;
    if fcntl(&writer, FcntlArg::F_SETPIPE_SZ(wanted))? < wanted {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    writer.write_all(text)?;
    Ok(reader)
}

/// The path of an open file of this process, for the processes that it starts.
pub fn own_path(open: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_knows_the_hook() {
        let hook: Hook = serde_json::from_str(
            r#"{"path":"/bin/h","args":["name","a"],"env":["A=b"],"timeout":7}"#,
        )
        .unwrap();
        let callers = |mask| Where::Callers { namespace: Path::new("/proc/1/fd/3"), mask };
        let relay = before(&hook, Path::new("/b"), callers(None), None);
        let args = [NAME, "/b", "/proc/1/fd/3", "", "", "/bin/h", "name", "a"];
        assert_eq!(relay.args().as_deref(), Some(&args.map(str::to_owned)[..]));
        assert_eq!((relay.env(), relay.timeout()), (hook.env(), hook.timeout()));
        let bare: Hook = serde_json::from_str(r#"{"path":"/bin/h","args":[]}"#).unwrap();
        let ear = Some(Path::new("/proc/1/fd/4"));
        let relay = before(&bare, Path::new("/b"), Where::Containers, ear);
        assert_eq!(relay.args().as_ref().unwrap()[2..5], ["", "", "/proc/1/fd/4"]);
        let empty = SigSet::empty();
        let masked = before(&bare, Path::new("/b"), callers(Some(&empty)), None);
        assert_eq!(masked.args().as_ref().unwrap()[3], "0", "no signal is not as it is");
        assert_eq!(relay.args().as_ref().unwrap().last().unwrap(), "/bin/h", "as a shell names it");
    }

    #[test]
    fn a_pipe_holds_a_large_state() {
        let text = vec![b'x'; 300_000];
        let mut read = Vec::new();
        filled(&text).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, text);
    }
}
