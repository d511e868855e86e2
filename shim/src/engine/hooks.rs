//! The hooks of a container's end. The engine would run them, too, but the first that fails keeps
//! it from removing the container; the specification wants a warning and the next hook.

use std::path::Path;

use libcontainer::config::YoukiConfig;
use libcontainer::container::Container;
use libcontainer::hooks::run_hooks;
use oci_spec::runtime::Hook;

use crate::log;

/// Takes the `poststop` hooks out of what the engine keeps in its directory of a container.
pub fn take_poststop(dir: &Path) -> Vec<Hook> {
    let Ok(mut config) = YoukiConfig::load(dir) else { return Vec::new() };
    let Some(hooks) = config.hooks.as_mut() else { return Vec::new() };
    let poststop = hooks.poststop().clone().unwrap_or_default();
    if !poststop.is_empty() {
        hooks.set_poststop(None);
        if let Err(error) = config.save(dir) {
            // The engine still has them, and runs them.
            tracing::warn!("{}", log::chain(&error));
            return Vec::new();
        }
    }
    poststop
}

/// Runs the hooks of a container that is gone.
pub fn run_poststop(hooks: Vec<Hook>, container: &Container) {
    for hook in hooks {
        let path = hook.path().clone();
        if let Err(error) = run_hooks(Some(&vec![hook]), Some(&container.state), None, None, None) {
            tracing::warn!("poststop hook {}: {}", path.display(), log::chain(&error));
        }
    }
}

/// Whether the engine runs hooks after the start of the container in `dir`.
pub fn has_poststart(dir: &Path) -> bool {
    let config = YoukiConfig::load(dir).ok();
    let hooks = config.and_then(|config| config.hooks);
    hooks.is_some_and(|hooks| hooks.poststart().as_ref().is_some_and(|list| !list.is_empty()))
}
