//! What is read of `containerd.services.containers.v1.Containers`, in which containerd keeps the records of containers.

#![expect(
    missing_docs,
    reason = "the fields are those of containerd's definition, which explains them"
)]

use prost::Message;

use super::Any;

/// The full name of the service.
pub const SERVICE: &str = "containerd.services.containers.v1.Containers";

/// Asks for the record of a container, with the method `Get`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetContainerRequest {
    #[prost(string, tag = "1")]
    pub id: String,
}

/// The record.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetContainerResponse {
    #[prost(message, optional, tag = "1")]
    pub container: Option<Container>,
}

/// A container, which has a process or not.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Container {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, optional, tag = "4")]
    pub runtime: Option<Runtime>,
    #[prost(message, optional, tag = "5")]
    pub spec: Option<Any>,
    #[prost(string, tag = "6")]
    pub snapshotter: String,
    #[prost(string, tag = "7")]
    pub snapshot_key: String,
}

/// The runtime of a container.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Runtime {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub options: Option<Any>,
}
