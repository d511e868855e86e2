//! containerd's shim of sharedroot, runtime type `io.containerd.sharedroot.v2`.
//!
//! containerd executes this program with `start` and `delete` for each container. `start` of the first container of a group
//! leaves two processes behind: the server, which answers containerd and waits for the ends of processes, and the spawner, which
//! only clones. Each operation on a container runs in a process of its own, a helper, with the code of the command `sharedroot`
//! in it.
//!
//! | module | story |
//! |---|---|
//! | `start`, `delete` | what containerd executes |
//! | `group` | which containers have one server |
//! | `own_call` | what `start` and `delete` tell a living server |
//! | `engine` | the option that names another OCI runtime |
//! | `place` | where a shim listens, and where its containers' state is |
//! | `serve` | the server's process, from its first step on |
//! | `server/` | the loop that answers containerd |
//! | `descriptors` | how many descriptors the server may have |
//! | `spawner` | the process that clones helpers |
//! | `helper/` | one operation on one container |
//! | `order` | what a helper is asked for |
//! | `report` | how a helper tells its result |
//! | `log` | messages in containerd's log |

mod delete;
mod descriptors;
mod engine;
mod group;
mod helper;
mod log;
mod order;
mod own_call;
mod place;
mod report;
mod serve;
mod server;
mod spawner;
mod start;

use std::io::Write;
use std::process::ExitCode;

use prost::Message;
use sharedroot_engine::stand_in;
use sharedroot_sys::chain::chain;
use sharedroot_sys::say_aside;
use sharedroot_task::messages::bootstrap::{RuntimeInfo, RuntimeVersion};
use sharedroot_task::start::{BadCommand, Command, Environment};

/// The runtime type.
const RUNTIME: &str = "io.containerd.sharedroot.v2";

/// A command of containerd's failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// The command line.
    #[error(transparent)]
    Command(#[from] BadCommand),
    /// `start`.
    #[error(transparent)]
    Start(#[from] start::StartError),
    /// `delete`.
    #[error(transparent)]
    Delete(#[from] delete::DeleteError),
    /// containerd does not read what it asked for.
    #[error("write standard output")]
    Output(#[from] std::io::Error),
}

fn main() -> ExitCode {
    if let Some(failed) = stand_in() {
        return failed;
    }
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(ended) = serve::begin(&words) {
        return ended;
    }
    match answer(&words).and_then(|text| Ok(std::io::stdout().write_all(&text)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_aside!("{RUNTIME}: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// What containerd reads from standard output.
fn answer(words: &[String]) -> Result<Vec<u8>, Failed> {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let environment = Environment {
        ttrpc_address: variable("TTRPC_ADDRESS"),
        grpc_address: variable("GRPC_ADDRESS"),
    };
    Ok(match Command::parse(words, &environment)? {
        Command::Version => version().into_bytes(),
        Command::Info => info(),
        Command::Start(start) => start::start(&start)?,
        Command::Delete(delete) => delete::delete(&delete)?,
    })
}

/// In the form of containerd's own shims.
fn version() -> String {
    let program = std::env::args().next().unwrap_or_default();
    format!("{program}:\n  Version:  {}\n", env!("CARGO_PKG_VERSION"))
}

fn info() -> Vec<u8> {
    let version =
        RuntimeVersion { version: env!("CARGO_PKG_VERSION").to_owned(), ..Default::default() };
    RuntimeInfo { name: RUNTIME.to_owned(), version: Some(version), ..Default::default() }
        .encode_to_vec()
}
