//! Hooks of engines that are known by their arguments, and hooks of which nothing is known.

use std::path::Path;

use oci_spec::runtime::{Hook, Spec};

/// The first hook that may write into the root before the container starts. The effect of a hook is unknown: hooks of
/// these three kinds run while the root is writable, and the hooks for GPUs make files there.
#[must_use]
pub fn may_write_root(spec: &Spec) -> Option<&Path> {
    let hooks = spec.hooks().as_ref()?;
    let kinds = [hooks.prestart(), hooks.create_runtime(), hooks.create_container()];
    let mut all = kinds.into_iter().flatten().flatten();
    all.find(|hook| !is_dockers(hook) && !is_nerdctls(hook)).map(|hook| hook.path().as_path())
}

/// Whether the hook is the one that nerdctl gives every container, for its network: `nerdctl … internal oci-hook
/// createRuntime`.
fn is_nerdctls(hook: &Hook) -> bool {
    let args = hook.args().as_deref().unwrap_or_default();
    args.windows(2).any(|pair| pair == ["internal", "oci-hook"])
}

/// Whether the hook is the one that Docker gives every container, which passes a network namespace to the daemon. That
/// hook only needs the process ID, and mounts nothing. So it needs no stand-in, and may run in any mount namespace.
pub(super) fn is_dockers(hook: &Hook) -> bool {
    hook.args().as_ref().and_then(|args| args.first()).is_some_and(|a| a == "libnetwork-setkey")
}
