//! containerd's record of a container. containerd calls `Mounts` outside of its transactions, so it answers meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use sharedroot_task::messages::containers::{
    Container, GetContainerRequest, GetContainerResponse, SERVICE,
};
use tokio::runtime::Handle;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::{Wish, spec};
use crate::key::{Parts, Space};

/// How long an answer may take. A container that waits longer gets a writable root.
const PATIENCE: Duration = Duration::from_secs(2);
/// The name of the namespace in a request's metadata (containerd, `pkg/namespaces`).
const NAMESPACE: &str = "containerd-namespace";

/// What the container of a record wants; none if the record is not of the container with this snapshot.
pub fn wish_of_record(container: &Container, space: &Space, parts: Parts<'_>) -> Option<Wish> {
    let is_of_it = container.snapshotter == space.as_ref() && container.snapshot_key == parts.key;
    is_of_it.then(|| spec::wish(container)).flatten()
}

/// containerd at its socket.
#[derive(Debug)]
pub struct Containerd {
    /// The socket.
    pub socket: PathBuf,
}

impl Containerd {
    /// What the container of a snapshot wants; none if containerd knows no such container of this snapshot.
    pub(super) fn wish(&self, space: &Space, parts: Parts<'_>) -> Option<Wish> {
        let runtime = Handle::try_current().ok()?;
        let container = match runtime.block_on(self.get(parts)) {
            Ok(container) => container?,
            Err(status) if status.code() == Code::NotFound => return None,
            Err(status) => {
                let socket = self.socket.display();
                tracing::warn!("ask containerd at {socket} for container {}: {status}", parts.key);
                return None;
            }
        };
        wish_of_record(&container, space, parts)
    }

    async fn get(&self, parts: Parts<'_>) -> Result<Option<Container>, Status> {
        let failed = |error: tonic::transport::Error| Status::from_error(error.into());
        let endpoint = Endpoint::try_from(format!("unix:{}", self.socket.display()));
        let endpoint = endpoint.map_err(failed)?.connect_timeout(PATIENCE).timeout(PATIENCE);
        let mut grpc = Grpc::new(endpoint.connect().await.map_err(failed)?);
        grpc.ready().await.map_err(failed)?;
        let mut request = Request::new(GetContainerRequest { id: parts.key.to_owned() });
        let namespace =
            parts.namespace.parse().map_err(|_| Status::invalid_argument("namespace"))?;
        request.metadata_mut().insert(NAMESPACE, namespace);
        let path = format!("/{SERVICE}/Get").parse::<PathAndQuery>();
        let path = path.map_err(|_| Status::internal("the path of a method"))?;
        let codec = ProstCodec::<GetContainerRequest, GetContainerResponse>::default();
        Ok(grpc.unary(request, path, codec).await?.into_inner().container)
    }
}
