//! `state` on the embedded engine.

use serde_json::{Value, json};
use sharedroot_engine::{Embedded, Status};

use crate::lifecycle::{Container, LifecycleError};
use crate::output::say;

/// Prints the state. Returns the exit status.
///
/// # Errors
/// [`LifecycleError`].
pub fn print(container: &Container, embedded: &Embedded) -> Result<u8, LifecycleError> {
    say!("{:#}", state(container, embedded)?);
    Ok(0)
}

/// runc's `state`.
///
/// # Errors
/// [`LifecycleError`].
pub fn state(container: &Container, embedded: &Embedded) -> Result<Value, LifecycleError> {
    let known = embedded.load("state")?;
    let record = container.record();
    let status = Status::from(known.status());
    let pid = if status == Status::Stopped { 0 } else { known.pid().map_or(0, |p| p.as_raw()) };
    let mut state = json!({
        "ociVersion": known.state.oci_version,
        "id": container.id().as_str(),
        "pid": pid,
        "status": status.to_string(),
        "bundle": record.map_or_else(|| known.bundle().clone(), |r| r.bundle.clone()),
        "rootfs": record.map(|r| r.root_path.clone()),
        "created": known.created(),
        "owner": known.creator().map(|o| o.to_string_lossy().into_owned()).unwrap_or_default(),
    });
    if let Some(annotations) = known.state.annotations.as_ref().filter(|map| !map.is_empty()) {
        state["annotations"] = json!(annotations);
    }
    Ok(state)
}
