//! The errors of the verbs.

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

/// A verb failed. The message says on what, and why.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The container ID is not valid.
    #[error(transparent)]
    Id(#[from] NotAContainerId),
    /// The bundle or its configuration cannot be used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// `/etc/sharedroot/config.toml` cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The engine cannot honour a field.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A volume cannot be prepared.
    #[error(transparent)]
    Volume(#[from] BindMountError),
    /// A label cannot be honoured.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// A step failed because the policy does not know a label.
    #[error("{label}")]
    UnknownLabel {
        /// The field and the label.
        label: LabelError,
        /// The error of the step.
        source: Box<LifecycleError>,
    },
    /// An annotation cannot be honoured.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// The state directory or the record cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The rootfs cannot be made.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The rootfs and the configuration contradict each other.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A directory of this program cannot be used.
    #[error(transparent)]
    PrivateDir(#[from] PrivateDirError),
    /// A mount failed.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine cannot be chosen.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// The configuration of Docker, containerd or podman cannot be changed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A delegate failed.
    #[error(transparent)]
    Delegate(#[from] DelegateError),
    /// A `create` makes the container's root, a `delete` writes back, or `gc` looks at the snapshot.
    #[error(
        "{verb} {id}: another command has worked on the container's root for {seconds} s (a `create` that makes a base takes \
         long); try again when it has ended"
    )]
    RootInUse {
        /// The verb.
        verb: &'static str,
        /// The container ID.
        id: ContainerId,
        /// How long this command has waited.
        seconds: u64,
    },
    /// A `create` waits for a hook, or for a volume whose file system does not answer, or a `pause` writes back.
    #[error(
        "delete {id}: its processes, if it had any, were ended, but another command of the container goes on (a `create` that \
         waits for a hook or a volume, or a `pause`), so its root and its ID stay: try again when that command has ended"
    )]
    Busy {
        /// The container ID.
        id: ContainerId,
    },
    /// The container could shut down the file system of its root, which other containers share.
    #[error(
        "create {id}: the root is a base that other containers share, and the container has CAP_SYS_ADMIN; it gets no overlay above \
         the base ({why}); take the capability away, or give the container a root of its own"
    )]
    OnBase {
        /// The container ID.
        id: ContainerId,
        /// Why the container gets no overlay.
        why: String,
    },
    /// Only a delegate has checkpoint and restore.
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
    /// The memory of processes is useless without the files that the processes had written.
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
    /// The runtime's own executable cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// `gc` did all steps except these.
    #[error("gc left {}: a warning gave the reason of each; correct each, then call `sharedroot gc` again", .names.join(", "))]
    NotCollected {
        /// The names of the steps that failed.
        names: Vec<String>,
    },
    /// An operation on a file of the caller failed.
    #[error("{step} {path}")]
    File {
        /// The operation.
        step: &'static str,
        /// The path.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// An argument has a value that is not valid.
    #[error("{flag}: {value:?}: {wanted}")]
    Argument {
        /// The flag.
        flag: &'static str,
        /// The value.
        value: String,
        /// The valid values.
        wanted: &'static str,
    },
}
