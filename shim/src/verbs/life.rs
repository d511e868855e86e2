//! The verbs that make a container, let it run, and delete it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use sharedroot_engine::{CreateOptions, Deletion, PidNamespace};

use super::{VerbError, Verbs, embedded_of};
use crate::cli::{Create, Verb};
use crate::lifecycle::{LifecycleError, Order, choice};
use crate::record::Rootfs;

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
    /// `create`: makes the container, whose init process is a child of this process.
    ///
    /// # Errors
    /// [`VerbError`]; then everything is as before.
    pub fn create(&self, new: &New<'_>) -> Result<Made, VerbError> {
        self.with("create", new.id, |container| {
            let choice = choice(&self.global, &self.config)?;
            let engine = container.engine_of(&choice)?;
            let embedded = embedded_of(&engine, "create", new.id)?;
            let verb = Verb::Create(Create {
                bundle: new.bundle.to_owned(),
                console_socket: new.console_socket.clone(),
                pid_file: None,
                preserve_fds: 0,
                no_pivot: new.no_pivot,
                no_new_keyring: new.no_new_keyring,
                id: new.id.to_owned(),
            });
            let options = CreateOptions {
                console_socket: new.console_socket.clone(),
                no_pivot: new.no_pivot,
                systemd_cgroup: new.systemd_cgroup,
                detach: true,
                no_new_keyring: new.no_new_keyring,
                ..CreateOptions::default()
            };
            let order = Order { bundle: new.bundle, choice: &choice, verb: &verb, options };
            container.create(&engine, &order)?;
            Ok(Made {
                pid: container.init(embedded)?,
                own_pids: PidNamespace::of(&container.spec()?) == PidNamespace::Own,
                shared: matches!(
                    container.made().map_err(LifecycleError::from)?,
                    Some(Rootfs::Shared { .. })
                ),
                memory_events: embedded.memory_events()?,
            })
        })
    }

    /// `start`: lets the init process execute its program.
    ///
    /// # Errors
    /// [`VerbError`].
    pub fn start(&self, id: &str) -> Result<(), VerbError> {
        self.embedded("start", id, |container, embedded| Ok(container.start(embedded)?))
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
        self.with("delete", id, |container| {
            if container.record().is_none_or(|record| record.bundle != bundle) {
                return Ok(());
            }
            embedded_of(container.engine(), "delete", id)?;
            Ok(container.delete(Deletion::Forced).map(drop)?)
        })
    }
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
