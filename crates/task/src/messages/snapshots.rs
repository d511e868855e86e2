//! Requests and responses of `containerd.services.snapshots.v1.Snapshots`, which containerd calls in a proxy snapshotter.

#![expect(
    missing_docs,
    reason = "the fields are those of the definition in fixtures/, which explains them"
)]

use std::collections::BTreeMap;

use prost::Message;

use super::task::Mount;
use super::{FieldMask, Timestamp};

/// The full name of the service.
pub const SERVICE: &str = "containerd.services.snapshots.v1.Snapshots";

/// Makes a snapshot that is written.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PrepareSnapshotRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    #[prost(string, tag = "2")]
    pub key: String,
    #[prost(string, tag = "3")]
    pub parent: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub labels: BTreeMap<String, String>,
}

/// How the snapshot is mounted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PrepareSnapshotResponse {
    #[prost(message, repeated, tag = "1")]
    pub mounts: Vec<Mount>,
}

/// Makes a snapshot that is read only.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ViewSnapshotRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    #[prost(string, tag = "2")]
    pub key: String,
    #[prost(string, tag = "3")]
    pub parent: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub labels: BTreeMap<String, String>,
}

/// How the snapshot is mounted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ViewSnapshotResponse {
    #[prost(message, repeated, tag = "1")]
    pub mounts: Vec<Mount>,
}

/// Asks how an active snapshot or a view is mounted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MountsRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    #[prost(string, tag = "2")]
    pub key: String,
}

/// How the snapshot is mounted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MountsResponse {
    #[prost(message, repeated, tag = "1")]
    pub mounts: Vec<Mount>,
}

/// Removes a snapshot.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RemoveSnapshotRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    #[prost(string, tag = "2")]
    pub key: String,
}

/// Makes an active snapshot a committed one, under another name.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CommitSnapshotRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub key: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub labels: BTreeMap<String, String>,
    #[prost(string, tag = "5")]
    pub parent: String,
}

/// Asks what is known of a snapshot.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatSnapshotRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    #[prost(string, tag = "2")]
    pub key: String,
}

/// What a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// No snapshot is of this kind.
    Unknown = 0,
    /// Read only.
    View = 1,
    /// Written.
    Active = 2,
    /// Never written again; others can be made of it.
    Committed = 3,
}

/// What is known of a snapshot.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Info {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub parent: String,
    #[prost(enumeration = "Kind", tag = "3")]
    pub kind: i32,
    #[prost(message, optional, tag = "4")]
    pub created_at: Option<Timestamp>,
    #[prost(message, optional, tag = "5")]
    pub updated_at: Option<Timestamp>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub labels: BTreeMap<String, String>,
}

/// What is known of the snapshot.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatSnapshotResponse {
    #[prost(message, optional, tag = "1")]
    pub info: Option<Info>,
}

/// Changes the labels of a snapshot.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct UpdateSnapshotRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    #[prost(message, optional, tag = "2")]
    pub info: Option<Info>,
    #[prost(message, optional, tag = "3")]
    pub update_mask: Option<FieldMask>,
}

/// What is known of the snapshot now.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct UpdateSnapshotResponse {
    #[prost(message, optional, tag = "1")]
    pub info: Option<Info>,
}

/// Asks for the snapshots that match one of the filters, or for all if there are no filters.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ListSnapshotsRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    #[prost(string, repeated, tag = "2")]
    pub filters: Vec<String>,
}

/// A part of the list.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ListSnapshotsResponse {
    #[prost(message, repeated, tag = "1")]
    pub info: Vec<Info>,
}

/// Asks how much of the disk a snapshot takes beside its parent.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct UsageRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
    #[prost(string, tag = "2")]
    pub key: String,
}

/// Bytes and inodes.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct UsageResponse {
    #[prost(int64, tag = "1")]
    pub size: i64,
    #[prost(int64, tag = "2")]
    pub inodes: i64,
}

/// Asks for the end of the work that `Remove` left.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CleanupRequest {
    #[prost(string, tag = "1")]
    pub snapshotter: String,
}
