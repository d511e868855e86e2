//! `events`: the figures of a container, and what the kernel tells about its memory.

use std::fs::File;
use std::path::PathBuf;

use libcgroups::common::CgroupManager;
use libcontainer::container::Container;
use serde_json::{Value, json};

use super::figures::Figures;
use super::stats;
use crate::{Embedded, EngineError};

/// One event of `events` in runc's form.
///
/// # Errors
/// [`EngineError`].
pub fn event(engine: &Embedded) -> Result<Value, EngineError> {
    let container = engine.load("events")?;
    let dir = engine.directory(&container);
    // The process is compared after its cgroup was read: by then another process may have its number.
    let is_init = container.pid().map(|pid| engine.is_init(pid.as_raw())).transpose();
    let is_init = is_init.map_err(|e| EngineError::Engine {
        verb: "events",
        id: engine.id().clone(),
        why: format!("see when its process started: {e}"),
    })?;
    let data = match dir.filter(|_| is_init == Some(true)) {
        Some(dir) => stats::of_unified(&dir),
        None => {
            let cgroup = engine.cgroup("events")?;
            stats::of_v1(&cgroup.stats().map_err(engine.cgroup_error("events"))?)
        }
    };
    Ok(json!({ "type": "stats", "id": engine.id().as_str(), "data": data }))
}

impl Embedded {
    /// The figures of the container's cgroup of version 2, also after the end of the init process. `None` on cgroup v1.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn figures(&self) -> Result<Option<Figures>, EngineError> {
        let container = self.load("events")?;
        Ok(self.directory(&container).map(|dir| Figures::read(&dir)))
    }

    /// The container's `memory.events`, opened before the container's program runs: the kernel tells changes of the file by
    /// poll(2). `None` if the memory controller is off, and on cgroup v1.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn memory_events(&self) -> Result<Option<File>, EngineError> {
        let container = self.load("events")?;
        Ok(self.directory(&container).and_then(|dir| File::open(dir.join("memory.events")).ok()))
    }

    /// The directory of the container's own cgroup, where that is known: the init process may be in a cgroup below it. If the
    /// directory is not where it is said to be, the cgroup of the init process.
    fn directory(&self, container: &Container) -> Option<PathBuf> {
        let own = self.own_cgroup(container)?;
        let of_init = || {
            let pid = container.pid()?.as_raw();
            // The process is compared after its cgroup was read: by then another process may have its number.
            stats::unified(pid).filter(|_| self.is_init(pid).unwrap_or(false))
        };
        if own.is_dir() { Some(own) } else { of_init().or(Some(own)) }
    }
}
