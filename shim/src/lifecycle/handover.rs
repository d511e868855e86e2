//! The configuration in the engine's words, and the container in the engine's hands.

use std::path::PathBuf;

use oci_spec::runtime::{Process, Spec};
use sharedroot_engine::{
    BindMounts, Bundle, CallersHooks, CreateOptions, Delegate, Embedded, EngineError, Labels,
    check_dev, make_notify, normalise,
};

use super::order::Order;
use super::story::Created;
use super::{Container, LifecycleError, engines, tell};
use crate::argv;
use crate::cli::Verb;
use crate::record::Lock;
use crate::rootfs::lead_into_mounts;

/// The state of a container after its engine had it.
pub(super) struct Handed {
    /// The exit status of the verb.
    pub(super) status: u8,
    /// Whether the container exists now, so that its rootfs must stay.
    pub(super) stays: bool,
}

impl Container {
    /// Rewrites the configuration for the embedded engine, except what depends on the rootfs. The hooks' namespace is
    /// opened here, because this process may leave the host's mount namespace when it makes the rootfs.
    pub(super) fn adapt(
        &self,
        embedded: &Embedded,
        bundle: &mut Bundle,
        options: &CreateOptions,
    ) -> Result<(Labels, CallersHooks), LifecycleError> {
        let (systemd, notify) = (options.systemd_cgroup, embedded.notify_dir());
        make_notify(&notify).map_err(|source| LifecycleError::File {
            step: "create",
            path: notify,
            source,
        })?;
        let labels = normalise(&mut bundle.spec, &bundle.path, self.id.as_str(), systemd)?;
        if wants_terminal(&bundle.spec) && options.console_socket.is_none() {
            return Err(EngineError::Console.into());
        }
        let hooks = CallersHooks::take(&mut bundle.spec, &bundle.path).map_err(|source| {
            LifecycleError::File { step: "open", path: "/proc/self/ns/mnt".into(), source }
        })?;
        embedded.take_callers(&hooks);
        Ok((labels, hooks))
    }

    /// Resolves the destinations of the mounts in the rootfs as it is now, and opens the volumes for the embedded
    /// engine. `before` are the destinations in another rootfs, if there was one.
    pub(super) fn open_volumes(
        &self,
        bundle: &mut Bundle,
        before: &[PathBuf],
    ) -> Result<BindMounts, LifecycleError> {
        lead_into_mounts(&bundle.root, &mut bundle.spec, before)?;
        check_dev(&bundle.spec).map_err(EngineError::from)?;
        let stage = self.bases.volumes();
        Ok(BindMounts::open(&mut bundle.spec, &bundle.root, &stage)?)
    }

    /// Passes the container on to the embedded engine, which reads sharedroot's bundle.
    pub(super) fn embed(
        &self,
        embedded: &Embedded,
        bundle: &mut Bundle,
        labels: &Labels,
        volumes: &mut BindMounts,
        hooks: &CallersHooks,
        order: &Order<'_>,
    ) -> Result<(), LifecycleError> {
        volumes.place(&bundle.root)?;
        self.scratch("config.json", &bundle.spec)?;
        engines(|| embedded.create(&bundle.spec, labels, volumes, hooks, &order.options))?;
        Ok(())
    }

    /// Passes the container on to a delegate, and waits for the result.
    pub(super) fn delegate(
        &self,
        delegate: &Delegate,
        verb: &Verb,
        lock: &mut Lock,
        story: &Created<'_>,
    ) -> Result<Handed, LifecycleError> {
        let (detach, keep) = match verb {
            Verb::Run(run) => (run.detach, run.keep),
            Verb::Restore(restore) => (restore.detach, false),
            _ => (true, false),
        };
        let argv = argv::of(delegate.dialect(), verb);
        // This call lasts as long as a foreground container: meanwhile other commands may exec and delete.
        let status = if detach {
            engines(|| delegate.call_noted(&argv))?
        } else {
            delegate.call(&argv, || {
                lock.let_go();
                tell(format_args!("run: {story}"));
            })?
        };
        if detach && status == 0 {
            tell(format_args!(
                "{}d: {story}",
                if verb.name() == "run" { "create" } else { verb.name() }
            ));
        }
        if !self.place.regain(lock)? {
            // Another command has deleted the container meanwhile, and another container may have the ID by now.
            return Ok(Handed { status, stays: true });
        }
        let stays = if detach { status == 0 } else { keep && delegate.exists()? };
        if !stays {
            delegate.clear();
        }
        Ok(Handed { status, stays })
    }
}

fn wants_terminal(spec: &Spec) -> bool {
    spec.process().as_ref().and_then(Process::terminal).unwrap_or(false)
}
