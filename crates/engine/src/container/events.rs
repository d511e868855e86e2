//! `events`: the figures of a running container.

use libcgroups::common::CgroupManager;
use serde_json::{Value, json};

use super::stats;
use crate::{Embedded, EngineError};

/// One event of `events` in runc's form.
///
/// # Errors
/// [`EngineError`].
pub fn event(engine: &Embedded) -> Result<Value, EngineError> {
    let pid = engine.load("events")?.pid().map(|pid| pid.as_raw());
    // The process is compared after its cgroup was read: by then another process may have its number.
    let unknown = |e: std::io::Error| EngineError::Engine {
        verb: "events",
        id: engine.id().clone(),
        why: format!("see when its process started: {e}"),
    };
    let dir = match pid.and_then(|pid| Some((pid, stats::unified(pid)?))) {
        Some((pid, dir)) => engine.is_init(pid).map_err(unknown)?.then_some(dir),
        None => None,
    };
    let data = match dir {
        Some(dir) => stats::of_unified(&dir),
        None => {
            let cgroup = engine.cgroup("events")?;
            stats::of_v1(&cgroup.stats().map_err(engine.cgroup_error("events"))?)
        }
    };
    Ok(json!({ "type": "stats", "id": engine.id().as_str(), "data": data }))
}
