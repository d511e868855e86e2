//! `list`: the containers of one state root, of every engine.

use std::collections::BTreeSet;

use serde_json::Value;
use sharedroot_engine::Engine;
use sharedroot_sys::chain::chain;

use super::file_error::read_error;
use super::state;
use crate::cli::{Format, Global, List};
use crate::config::Config;
use crate::lifecycle::{Container, LifecycleError};
use crate::output::say;
use crate::record;

/// Prints the list.
///
/// # Errors
/// [`LifecycleError`] if the state root or the records cannot be read.
pub fn list(global: &Global, config: &Config, args: &List) -> Result<(), LifecycleError> {
    let mut states = Vec::new();
    for id in ids(global, config)? {
        // A container may end while the list is made.
        match Container::named(global, &id, config).and_then(|container| state(&container)) {
            Ok(state) => states.extend(state),
            Err(error) => tracing::debug!("list: {}", chain(&error)),
        }
    }
    let text = |state: &Value, key: &str| match &state[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match (args.quiet, args.format) {
        (true, _) => states.iter().for_each(|s| say!("{}", text(s, "id"))),
        (false, Format::Json) => say!("{}", Value::Array(states)),
        (false, Format::Table) => {
            let keys = ["id", "pid", "status", "bundle", "created", "owner"];
            let head = keys.map(str::to_ascii_uppercase);
            for [id, pid, status, bundle, created, owner] in
                std::iter::once(head).chain(states.iter().map(|s| keys.map(|key| text(s, key))))
            {
                say!("{id:<66}{pid:<12}{status:<12}{bundle:<64}{created:<32}{owner}");
            }
        }
    }
    Ok(())
}

/// The IDs of the embedded engine's directories and of the records; delegates' containers have records, too.
fn ids(global: &Global, config: &Config) -> Result<BTreeSet<String>, LifecycleError> {
    let root = match global.root.canonicalize() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        resolved => resolved.map_err(read_error(&global.root))?,
    };
    let mut ids = BTreeSet::from_iter(record::ids(&config.pool.run_dir, &root)?);
    for entry in std::fs::read_dir(&root).map_err(read_error(&root))? {
        ids.extend(entry.map_err(read_error(&root))?.file_name().into_string());
    }
    Ok(ids)
}

/// The output of `state`; `None` if the engine has no such container.
fn state(container: &Container) -> Result<Option<Value>, LifecycleError> {
    match container.engine() {
        Engine::Embedded(engine) => state::state(container, engine).map(Some),
        Engine::Delegate(delegate) => Ok(delegate.state()?),
    }
}
