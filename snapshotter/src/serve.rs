//! The server: one thread that never waits for anything but sockets, and a bounded number of threads that may wait.

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::rpc::{MAX_CALLS, Rpc};
use crate::snapshots::Snapshots;

/// How many calls of one connection are under way. containerd has one connection; further calls wait in it.
const MAX_STREAMS: u32 = 256;

/// Why the server ends early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A system call failed.
    #[error("set up the server")]
    Set(#[from] io::Error),
    /// The sockets.
    #[error("serve")]
    Serve(#[from] tonic::transport::Error),
}

/// Serves until SIGTERM or SIGINT, and then answers the calls that have begun.
///
/// # Errors
/// [`ServeError`].
pub fn serve(listener: UnixListener, snapshots: Arc<Snapshots>) -> Result<(), ServeError> {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(MAX_CALLS).build()?;
    runtime.block_on(async {
        let (mut stop, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let ended = async move {
            tokio::select! { _ = stop.recv() => {}, _ = interrupt.recv() => {} }
        };
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let connections = UnixListenerStream::new(listener).filter(is_trusted);
        Server::builder()
            .max_concurrent_streams(MAX_STREAMS)
            .add_service(Rpc::new(snapshots))
            .serve_with_incoming_shutdown(connections, ended)
            .await?;
        Ok(())
    })
}

/// Whether a connection is one of root, or of the user of this process: who may call may read and remove every snapshot.
fn is_trusted(connection: &io::Result<UnixStream>) -> bool {
    let Ok(connection) = connection else { return true };
    let own = rustix::process::geteuid().as_raw();
    let user = connection.peer_cred().map(|peer| peer.uid());
    let trusted = user.as_ref().is_ok_and(|user| *user == 0 || *user == own);
    if !trusted {
        tracing::warn!(?user, "refused a connection");
    }
    trusted
}
