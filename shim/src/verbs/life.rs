//! The verbs that make a container, let it run, and delete it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use sharedroot_engine::{CreateOptions, Deletion, Embedded, Engine, PidNamespace};

use super::delegated::Delegated;
use super::{VerbError, Verbs};
use crate::cli::{Create, Global, Verb};
use crate::lifecycle::{Container, LifecycleError, Order, choice};
use crate::record::Rootfs;

/// The file in the bundle into which another runtime writes the init process, as with containerd's own shim.
const PID_FILE: &str = "init.pid";

/// A new container.
#[derive(Debug)]
pub struct New<'a> {
    /// The container ID.
    pub id: &'a str,
    /// The caller's bundle.
    pub bundle: &'a Path,
    /// The socket that receives the terminal.
    pub console_socket: Option<PathBuf>,
    /// Enter the root with MS_MOVE and chroot instead of pivot_root.
    pub no_pivot: bool,
    /// Stay in the caller's session keyring.
    pub no_new_keyring: bool,
    /// Let systemd manage the cgroup.
    pub systemd_cgroup: bool,
    /// The value of the flag `--engine`, if there is one.
    pub engine: Option<&'a OsStr>,
}

/// A container that waits for `start`.
#[derive(Debug)]
pub struct Made {
    /// The init process.
    pub pid: Pid,
    /// Whether the kernel ends the other processes with the init process.
    pub own_pids: bool,
    /// Whether the container has a shared rootfs, and so uses nothing that is mounted at its `root.path`.
    pub shared: bool,
    /// The container's `memory.events`; none if the kernel does not count for this container.
    pub memory_events: Option<File>,
}

impl Verbs {
    /// `create`: makes the container, whose init process is a child of this process, or of whoever adopts the children of
    /// another runtime.
    ///
    /// # Errors
    /// [`VerbError`]; then everything is as before.
    pub fn create(&self, new: &New<'_>) -> Result<Made, VerbError> {
        let systemd_cgroup = new.systemd_cgroup;
        let global = Global {
            engine: new.engine.map(OsStr::to_owned),
            systemd_cgroup,
            ..self.global.clone()
        };
        self.with_global(&global, "create", new.id, |container, said| {
            let choice = choice(&global, &self.config)?;
            let engine = container.engine_of(&choice)?;
            let pid_file = match &engine {
                Engine::Embedded(_) => None,
                Engine::Delegate(_) => Some(new.bundle.join(PID_FILE)),
            };
            let verb = Verb::Create(Create {
                bundle: new.bundle.to_owned(),
                console_socket: new.console_socket.clone(),
                pid_file: pid_file.clone(),
                preserve_fds: 0,
                no_pivot: new.no_pivot,
                no_new_keyring: new.no_new_keyring,
                id: new.id.to_owned(),
            });
            let options = CreateOptions {
                console_socket: new.console_socket.clone(),
                no_pivot: new.no_pivot,
                systemd_cgroup,
                detach: true,
                no_new_keyring: new.no_new_keyring,
                ..CreateOptions::default()
            };
            let order = Order { bundle: new.bundle, choice: &choice, verb: &verb, options };
            let status = container.create(&engine, &order)?;
            let delegate = match &engine {
                Engine::Embedded(embedded) => return made(container, embedded),
                Engine::Delegate(delegate) => delegate,
            };
            let delegated = Delegated { container, delegate, verb: "create", said };
            delegated.check(status)?;
            Ok(Made {
                pid: delegated.pid(&new.bundle.join(PID_FILE))?,
                own_pids: Delegated::pids(new.bundle)? == PidNamespace::Own,
                // The other runtime's root is above what is mounted there.
                shared: false,
                memory_events: delegate.memory_events()?,
            })
        })
    }

    /// `start`: lets the init process execute its program.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn start(&self, id: &str) -> Result<(), VerbError> {
        self.either("start", id, |c, embedded| Ok(c.start(embedded)?), |other| other.start())
    }

    /// `delete --force` of the container that was made from `bundle`. A container of this ID from another bundle is
    /// another caller's, and stays. It is no error if there is none.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn delete(&self, id: &str, bundle: &Path) -> Result<(), VerbError> {
        let bundle = resolved(bundle).map_err(|source| LifecycleError::File {
            step: "resolve",
            path: bundle.to_owned(),
            source,
        })?;
        self.with("delete", id, |container, said| {
            if container.record().is_none_or(|record| record.bundle != bundle) {
                return Ok(());
            }
            let status = container.delete(Deletion::Forced)?;
            match container.engine() {
                Engine::Embedded(_) => Ok(()),
                Engine::Delegate(delegate) => {
                    Delegated { container, delegate, verb: "delete", said }.check(status)
                }
            }
        })
    }
}

/// What the embedded engine has made.
fn made(container: &Container, embedded: &Embedded) -> Result<Made, VerbError> {
    let rootfs = container.made().map_err(LifecycleError::from)?;
    Ok(Made {
        pid: container.init(embedded)?,
        own_pids: PidNamespace::of(&container.spec()?) == PidNamespace::Own,
        shared: matches!(rootfs, Some(Rootfs::Shared { .. })),
        memory_events: embedded.memory_events()?,
    })
}

/// The bundle's path without symbolic links. The bundle itself may be gone: its engine has given the container up.
fn resolved(bundle: &Path) -> io::Result<PathBuf> {
    match (bundle.canonicalize(), bundle.parent(), bundle.file_name()) {
        (Err(e), Some(parent), Some(name)) if e.kind() == io::ErrorKind::NotFound => {
            Ok(parent.canonicalize()?.join(name))
        }
        (found, ..) => found,
    }
}
