//! What a verb says when it fails.

use std::path::PathBuf;

use sharedroot_bases::RootfsError;
use sharedroot_engine::{
    BindMountError, BundleError, ChoiceError, DelegateError, EngineError, SealError, SpecError,
};
use sharedroot_format::{ContainerId, NotAContainerId};
use sharedroot_label::LabelError;
use sharedroot_sys::mount::MountError;
use sharedroot_sys::private_dir::PrivateDirError;

use crate::admin::install::InstallError;
use crate::config::ConfigError;
use crate::privilege::PrivilegeError;
use crate::record::RecordError;
use crate::rootfs::{AnnotationError, RootError};

/// A verb that failed; the message says on what and why.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The container ID.
    #[error(transparent)]
    Id(#[from] NotAContainerId),
    /// The bundle and its configuration.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// `/etc/sharedroot/config.toml`
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A field that cannot be honoured.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A volume that cannot be prepared.
    #[error(transparent)]
    Volume(#[from] BindMountError),
    /// A label that cannot be honoured.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A step failed, and a label that the policy does not know is why.
    #[error("{label}: {source}")]
    UnknownLabel {
        /// The field and the label.
        label: LabelError,
        /// The step.
        source: Box<LifecycleError>,
    },
    /// An annotation that cannot be honoured.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// State directory and record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The root file system.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// A root that does not go together with its configuration.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A directory of ours.
    #[error(transparent)]
    PrivateDir(#[from] PrivateDirError),
    /// A mount.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The choice of the engine.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// The configuration of Docker, containerd or podman.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Another runtime as the engine.
    #[error(transparent)]
    Delegate(#[from] DelegateError),
    /// Only a delegate has CRIU.
    #[error(
        "{verb} {id}: the embedded engine has no checkpoint and restore; create such containers \
         with --engine runc or --engine crun"
    )]
    NoCriu {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
    },
    /// The memory of processes without the files that they had written.
    #[error(
        "restore {id}: its root was writable and is gone: a private rootfs is deleted with its \
         container; restore before `delete`, or create such containers with --read-only or with \
         the annotation dev.sharedroot.mode=off"
    )]
    RootIsGone {
        /// The container ID.
        id: ContainerId,
    },
    /// The caller is not root of the host.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// The runtime's own executable.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The rest was collected.
    #[error("gc left {}: a warning gave the reason of each; mend it, then call `sharedroot gc` again", .names.join(", "))]
    NotCollected {
        /// What was left.
        names: Vec<String>,
    },
    /// A file of the caller.
    #[error("{step} {path}: {source}")]
    File {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// An argument that has no meaning.
    #[error("{flag}: {value:?}: {wanted}")]
    Argument {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What can be given.
        wanted: &'static str,
    },
}
