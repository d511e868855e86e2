//! containerd's proxy snapshotter of sharedroot: each snapshot is a thin volume of the pool.
//!
//! This is a program, not a library: `main.rs` calls [`run`]. With the feature `fuzz` the fuzz targets can also call the parsers
//! of outside input.
//!
//! | module | story |
//! |---|---|
//! | `arguments`, `log` | the command line; messages |
//! | `listen`, `serve`, `rpc` | the socket, the server, the gRPC service: the only asynchronous code |
//! | `calls` | containerd's messages and calls |
//! | `snapshots` | what each call does |
//! | `table/` | the rows of snapshots, and the work that they left |
//! | `hints/` | what a container wants of its root, told by its engine's records |
//! | `volumes`, `mounts` | the thin volume of a snapshot; how a client mounts it |
//! | `untouched` | whether anybody has changed a file of a snapshot |
//! | `whole` | committed volumes that a power cut may have cut short |
//! | `own_mounts` | a second mount of a snapshot that is mounted already |
//! | `row_locks`, `signal` | one call at a time for each volume; the queue's thread |
//! | `key`, `labels`, `filter/` | what clients send, within bounds |
//! | `error` | why a call fails |
//!
//! A call changes the table first, then makes a volume; a removal and a commit are one row each, and the queue does the rest. So
//! the process may end at any moment: what it left is in the table, and the next process does it. No mount and no device depends
//! on the process.

mod arguments;
mod calls;
mod error;
mod filter;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod hints;
mod key;
mod labels;
mod listen;
mod log;
mod mounts;
mod own_mounts;
mod row_locks;
mod rpc;
mod serve;
mod signal;
mod snapshots;
mod table;
mod untouched;
mod volumes;
mod whole;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use sharedroot_bases::Bases;
use sharedroot_config::{Config, ConfigError};
use sharedroot_sys::byte_lock::ByteLock;
use sharedroot_sys::chain::chain;
use sharedroot_sys::private_dir::{PrivateDirError, private_dir_or_link};
use sharedroot_sys::say_aside;

use crate::arguments::{BadCommand, Command, HELP, Options};
use crate::hints::{Containerd, Hints};
use crate::listen::{ListenError, listen};
use crate::own_mounts::OwnMounts;
use crate::serve::{ServeError, serve};
use crate::snapshots::Snapshots;
use crate::table::{Table, TableError};
use crate::volumes::Volumes;

/// Why the program fails.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Command(#[from] BadCommand),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the configuration of the pool")]
    Pool(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Directory(#[from] PrivateDirError),
    #[error("lock {path}")]
    Lock { path: PathBuf, source: std::io::Error },
    #[error(
        "another sharedrootd serves the snapshots in {dir}, so this one ends and changes nothing; end the other one first \
         (`systemctl stop sharedrootd.socket sharedrootd.service`, or the process that `fuser {lock}` names), or give this one \
         another pool.state_dir and pool.run_dir"
    )]
    Other { dir: PathBuf, lock: PathBuf },
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("compare the table of snapshots with the pool")]
    Reconcile(#[source] error::Error),
    #[error("start the thread of the queue")]
    Queue(#[source] std::io::Error),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("write standard output")]
    Output(#[from] std::io::Error),
}

/// Executes the command line of this process, and reports errors.
#[must_use]
pub fn run() -> ExitCode {
    match act() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_aside!("sharedrootd: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn act() -> Result<(), Failed> {
    let text = match Command::parse(std::env::args_os().skip(1))? {
        Command::Help => HELP.to_owned(),
        Command::Version => format!("sharedrootd {}\n", env!("CARGO_PKG_VERSION")),
        Command::Serve(options) => return begin(&options),
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn begin(options: &Options) -> Result<(), Failed> {
    log::begin(options.debug);
    let bases = Config::load(&options.config)?.bases().map_err(|e| Failed::Pool(e.into()))?;
    let containerd = Some(Containerd { socket: options.containerd.clone() });
    let hints = Hints { docker: options.docker.clone(), containerd };
    for dir in [bases.state_dir(), bases.run_dir()] {
        private_dir_or_link(dir)?;
    }
    // The kernel releases the locks when the process ends, however it ends.
    let _only_one = [
        only_one(&bases, bases.snapshotter_lock())?,
        only_one(&bases, bases.snapshot_table_lock())?,
    ];
    let table = Table::open(bases.state_dir())?;
    let own_mounts = OwnMounts::below(bases.run_dir());
    let volumes = Volumes::new(bases, table.tag());
    let snapshots = Arc::new(Snapshots::new(table, volumes, own_mounts, hints));
    snapshots.reconcile().map_err(Failed::Reconcile)?;
    let listener = listen(options.address.as_deref())?;
    let queue = Arc::clone(&snapshots);
    std::thread::Builder::new()
        .name("queue".to_owned())
        .spawn(move || queue.work())
        .map_err(Failed::Queue)?;
    Ok(serve(listener, snapshots)?)
}

/// The lock that one process has at a time.
fn only_one(bases: &Bases, path: PathBuf) -> Result<ByteLock, Failed> {
    match ByteLock::try_lock(&path, 0) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(Failed::Other { dir: bases.state_dir().to_owned(), lock: path }),
        Err(source) => Err(Failed::Lock { path, source }),
    }
}
