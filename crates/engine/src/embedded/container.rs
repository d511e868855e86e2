//! One container of the embedded engine: its directories, its hooks, and the words of its errors.

use std::cell::OnceCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcontainer::container::Container;
use libcontainer::error::LibcontainerError;
use sharedroot_format::ContainerId;

use crate::EngineError;
use crate::hooks::callers::CallersHooks;
use crate::hooks::later::Later;
use crate::reason::reason;

/// One container of one state root.
#[derive(Debug)]
pub struct Embedded {
    root: PathBuf,
    id: ContainerId,
    /// sharedroot's own directory of the container: the bundle that the engine reads.
    bundle: PathBuf,
    /// The mount namespace of this process's caller, for hooks that run after this process made the container's root.
    callers: OnceCell<Rc<File>>,
}

impl Embedded {
    /// The container `id` below the state root `root`, made from sharedroot's bundle at `bundle`. The container need
    /// not exist.
    #[must_use]
    pub fn new(root: &Path, id: &ContainerId, bundle: &Path) -> Self {
        let (root, bundle) = (root.to_owned(), bundle.to_owned());
        Self { root, id: id.clone(), bundle, callers: OnceCell::new() }
    }

    /// Has the hooks of later verbs run where those of `create` run.
    pub fn take_callers(&self, hooks: &CallersHooks) {
        if let Some(callers) = hooks.callers() {
            let _ = self.callers.set(callers);
        }
    }

    pub(super) fn callers(&self) -> Option<&File> {
        self.callers.get().map(Rc::as_ref)
    }

    /// The container ID.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The state root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// sharedroot's own directory of this container.
    pub(crate) fn bundle(&self) -> &Path {
        &self.bundle
    }

    /// The engine's directory of this container.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.join(self.id.as_str())
    }

    /// Whether the engine has a container of this ID.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.dir().is_dir()
    }

    pub(crate) fn fail(
        &self,
        verb: &'static str,
    ) -> impl Fn(LibcontainerError) -> EngineError + '_ {
        move |source| EngineError::Engine { verb, id: self.id.clone(), why: reason(&source) }
    }

    /// The hooks that run after `create`.
    pub(super) fn later(&self, verb: &'static str) -> Result<Option<Later>, EngineError> {
        Later::read(&self.bundle).map_err(|e| EngineError::Engine {
            verb,
            id: self.id.clone(),
            why: format!("read its hooks: {e}"),
        })
    }

    pub(crate) fn require(
        &self,
        verb: &'static str,
        container: &Container,
        able: impl Fn(&Container) -> bool,
    ) -> Result<(), EngineError> {
        if able(container) {
            return Ok(());
        }
        let status = container.status().into();
        Err(EngineError::WrongStatus { verb, id: self.id.clone(), status })
    }
}
