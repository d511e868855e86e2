//! A hook's stand-in: this program, executed by the engine in the hook's place. It puts the container's state right, goes
//! where the hook belongs, and executes the hook.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sched::{CloneFlags, setns};
use oci_spec::runtime::Hook;
use serde_json::{Value, json};
use sharedroot_sys::chain::chain;
use sharedroot_sys::say_aside;

/// The name that this program has as a stand-in.
const NAME: &str = "sharedroot-hook";
/// This program, whatever mount namespace it is looked for in before the root is changed.
const PROGRAM: &str = "/proc/self/exe";

/// What a stand-in writes first where a hook is listened to by a file, so that others may have spoken before.
pub const BEGAN: u8 = 0;

/// The namespaces that a hook runs in.
#[derive(Debug, Clone, Copy)]
pub enum Where<'a> {
    /// Those of who called `create`; the path leads to the mount namespace.
    Callers(&'a Path),
    /// The container's.
    Containers,
}

/// A hook could not be executed.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("{step} for the hook {hook}: {source}")]
    Step { step: &'static str, hook: PathBuf, source: io::Error },
    #[error("the engine called no hook: {0} arguments")]
    Arguments(usize),
}

/// The hook for the engine to run instead of `hook`. `ear` leads to the file for what the hook writes to standard error, which
/// stays what it is without one.
#[must_use]
pub fn before(hook: &Hook, bundle: &Path, place: Where<'_>, ear: Option<&Path>) -> Hook {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let namespace = match place {
        Where::Callers(namespace) => text(namespace),
        Where::Containers => String::new(),
    };
    let ear = ear.map(text).unwrap_or_default();
    let mut args = vec![NAME.to_owned(), text(bundle), namespace, ear, text(hook.path())];
    let own = hook.args().clone().filter(|own| !own.is_empty());
    args.extend(own.unwrap_or_else(|| vec![text(hook.path())]));
    let mut relay = hook.clone();
    relay.set_path(PROGRAM.into()).set_args(Some(args));
    relay
}

/// Executes the hook if this process is its stand-in, and returns only if that fails. `None` if it is none.
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
    let [_, bundle, namespace, ear, path, name, rest @ ..] = args else {
        return Err(RelayError::Arguments(args.len()));
    };
    let fail = |step| {
        let hook = PathBuf::from(path);
        move |source| RelayError::Step { step, hook, source }
    };
    // A process in a user namespace of its own may not open it, and speaks for itself.
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
        // The container's first process called, and its number is the one that its namespace gives it.
        state["pid"] = json!(parent_id());
    } else {
        enter(Path::new(namespace)).map_err(fail("enter the mount namespace of the caller"))?;
        // As with runc and crun.
        std::env::set_current_dir(bundle).map_err(fail("enter the bundle"))?;
    }
    let stdin = filled(state.to_string().as_bytes()).map_err(fail("pass the state on"))?;
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

/// A pipe that holds `text` and ends there. Nobody reads while it is written.
fn filled(text: &[u8]) -> io::Result<io::PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    let wanted = i32::try_from(text.len()).map_err(io::Error::other)?;
    if fcntl(&writer, FcntlArg::F_SETPIPE_SZ(wanted))? < wanted {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    writer.write_all(text)?;
    Ok(reader)
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
        let relay = before(&hook, Path::new("/b"), Where::Callers(Path::new("/proc/1/fd/3")), None);
        let args = [NAME, "/b", "/proc/1/fd/3", "", "/bin/h", "name", "a"];
        assert_eq!(relay.args().as_deref(), Some(&args.map(str::to_owned)[..]));
        assert_eq!((relay.env(), relay.timeout()), (hook.env(), hook.timeout()));
        let bare: Hook = serde_json::from_str(r#"{"path":"/bin/h","args":[]}"#).unwrap();
        let ear = Some(Path::new("/proc/1/fd/4"));
        let relay = before(&bare, Path::new("/b"), Where::Containers, ear);
        assert_eq!(relay.args().as_ref().unwrap()[2..4], ["", "/proc/1/fd/4"]);
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
