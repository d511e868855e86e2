//! `create`, and what `run` and `restore` have in common with `create`: plan, record, prepare, pass on to the engine.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Process, Spec};
use sharedroot_bases::{
    Earlier, Place, Prepared, RootfsError, SnapshotLock, Wanted, prepare_private, prepare_shared,
};
use sharedroot_dm::Bytes;
use sharedroot_engine::{
    BindMounts, Bundle, CallersHooks, Choice, CreateOptions, Delegate, Embedded, Engine,
    EngineError, Labels, check_dev, leads_out, make_notify, may_write_root, normalise,
    offer_notify, refuse_others,
};
use sharedroot_format::{ContainerId, ScaffoldName, VolumeName};
use sharedroot_image as image;
use sharedroot_sys::chain::readable;
use sharedroot_sys::mount;
use sharedroot_sys::process_start::began;
use sharedroot_sys::step::step;

use super::story::Created;
use super::{Container, LifecycleError, engines, tell};
use crate::argv;
use crate::cli::Verb;
use crate::config::Size;
use crate::log::ASIDE;
use crate::record::{Lock, Record, RecordError, Rootfs};
use crate::rootfs::{
    AnnotationError, Facts, Mode, Needs, Plan, device_in_root, lead_into_mounts, places, plan,
    refuse_links, refuse_over_proc, wanted_size,
};
use crate::starts::Step;

/// The request of `create`, `run` or `restore`.
#[derive(Debug)]
pub struct Order<'a> {
    /// The caller's bundle.
    pub bundle: &'a Path,
    /// The engine of the new container, as the record has it.
    pub choice: &'a Choice,
    /// The whole command line, for a delegate.
    pub verb: &'a Verb,
    /// The options for the embedded engine.
    pub options: CreateOptions,
}

/// What the configuration asks of the rootfs.
struct Asked {
    mode: Mode,
    size: Option<Size>,
    /// The hook that may write into the rootfs.
    hook: Option<PathBuf>,
}

/// What an engine gets.
struct Made {
    rootfs: Rootfs,
    /// The opened volumes; a delegate opens its own.
    volumes: BindMounts,
}

/// The changes of an earlier start that were still in the pool, and what writing them back may have changed.
struct Settled {
    earlier: Earlier,
    /// Where the mounts landed in the engine's rootfs before the changes were written back, if there were changes.
    places: Vec<PathBuf>,
}

/// The state of a container after its engine had it.
struct Handed {
    /// The exit status of the verb.
    status: u8,
    /// Whether the container exists now, so that its rootfs must stay.
    stays: bool,
}

impl Container {
    /// Makes the container and passes it on to `engine`. If the container cannot be made, everything is as before.
    /// Returns the exit status of the verb.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn create(&self, engine: &Engine, order: &Order<'_>) -> Result<u8, LifecycleError> {
        let reads = step("load the bundle");
        let mut bundle = Bundle::load(order.bundle)?;
        let mode = Mode::of(|key| annotation(&bundle.spec, key), bundle.readonly)?;
        let size = wanted_size(|key| annotation(&bundle.spec, key))?;
        let hook = may_write_root(&bundle.spec).map(Path::to_owned);
        let asked = Asked { mode, size, hook };
        if let Engine::Embedded(embedded) = engine {
            offer_notify(&mut bundle.spec, &embedded.notify_dir());
        }
        let needs = Needs::of(&bundle.spec, &bundle.path);
        if self.engine.exists()? || engine.has_traces() {
            return Err(RecordError::Exists { id: self.id.clone() }.into());
        }
        let mut lock = self.claim()?;
        let adapted = match engine {
            Engine::Embedded(embedded) => self.adapt(embedded, &mut bundle, &order.options),
            // A delegate reads the caller's own configuration and interprets it by itself.
            Engine::Delegate(_) => Labels::of(&bundle.spec)
                .map(|labels| (labels, CallersHooks::default()))
                .map_err(LifecycleError::from),
        };
        let (labels, hooks) = adapted.inspect_err(|_| self.undo())?;
        drop(reads);
        let made = self.make(&mut bundle, &needs, &asked, &labels, order);
        let base = made.as_ref().ok().and_then(|made| made.rootfs.base().cloned());
        let readonly = bundle.readonly;
        let handed = made.and_then(|Made { rootfs, mut volumes }| {
            let story = Created { rootfs: &rootfs, readonly, engine: order.choice };
            match engine {
                Engine::Embedded(embedded) => {
                    self.embed(embedded, &mut bundle, &labels, &mut volumes, &hooks, order)?;
                    tell(format_args!("created: {story}"));
                    Ok(Handed { status: 0, stays: true })
                }
                Engine::Delegate(delegate) => {
                    self.delegate(delegate, order.verb, &mut lock, &story)
                }
            }
        });
        if !handed.as_ref().is_ok_and(|handed| handed.stays) {
            self.undo();
        }
        let handed = handed.map_err(|error| match labels.unknown() {
            Some(label) => LifecycleError::UnknownLabel { label, source: Box::new(error) },
            None => error,
        });
        let handed = handed?;
        match engine {
            Engine::Embedded(_) => self.note(Step::Create(base), began()),
            Engine::Delegate(_) if handed.stays && order.options.detach => {
                self.note(Step::Whole(base), began());
            }
            // The verb failed, or the container has already ended.
            Engine::Delegate(_) => {}
        }
        Ok(handed.status)
    }

    /// Rewrites the configuration for the embedded engine, except what depends on the rootfs. The hooks' namespace is
    /// opened here, because this process may leave the host's mount namespace when it makes the rootfs.
    fn adapt(
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
    fn open_volumes(
        &self,
        bundle: &mut Bundle,
        before: &[PathBuf],
    ) -> Result<BindMounts, LifecycleError> {
        lead_into_mounts(&bundle.root, &mut bundle.spec, before)?;
        check_dev(&bundle.spec).map_err(EngineError::from)?;
        let stage = self.bases.volumes();
        Ok(BindMounts::open(&mut bundle.spec, &bundle.root, &stage)?)
    }

    /// Claims the ID, also if a `create` or `delete` that died left a record of that ID.
    fn claim(&self) -> Result<Lock, LifecycleError> {
        match self.place.claim() {
            Err(RecordError::Exists { .. }) if self.place.is_abandoned()? => {
                if let Engine::Delegate(delegate) = &self.engine {
                    delegate.end_orphan();
                }
                self.release()?;
                Ok(self.place.claim()?)
            }
            claimed => Ok(claimed?),
        }
    }

    /// Makes the rootfs, the volumes and the record, after the ID is claimed.
    fn make(
        &self,
        bundle: &mut Bundle,
        needs: &Needs,
        asked: &Asked,
        labels: &Labels,
        order: &Order<'_>,
    ) -> Result<Made, LifecycleError> {
        let delegated = !matches!(order.choice, Choice::Libcontainer);
        if !delegated {
            refuse_others(&bundle.spec, self.id.as_str())?;
        }
        // Until the container has its root: `gc` or `pool drop` would remove the record and the note that this start writes.
        let lock = self.bases.lock_snapshot(&self.snapshot())?;
        let Settled { earlier, places } = self.settle(bundle, delegated, &lock)?;
        let plan = self.choose(bundle, asked, delegated);
        if matches!((&plan, order.verb), (Plan::Private(_), Verb::Restore(_))) {
            return Err(LifecycleError::RootIsGone { id: self.id.clone() });
        }
        if let (Earlier::Root(first), Some(why)) = (&earlier, other_root(&plan)) {
            let (id, first) = (self.id.to_string(), first.clone());
            return Err(
                RootfsError::OnlyInSnapshot { id, volume: self.snapshot(), first, why }.into()
            );
        }
        // Volumes are opened, and links are read, in the engine's rootfs before another rootfs is made. That one has the same
        // links. A shared rootfs is mounted in a mount namespace of this process's own, where a volume would not be a peer of
        // the host's mount any more; and a base has mount points for its engine, whose modes are not the image's. A kept
        // snapshot has links of its own, so they are read in the snapshot.
        let is_kept = matches!(earlier, Earlier::Root(_));
        let mut volumes = BindMounts::default();
        if !delegated && !is_kept {
            volumes = self.open_volumes(bundle, &places)?;
        }
        let rootfs = self.prepare(plan, bundle, needs, (labels, asked.size, &earlier), order)?;
        drop(lock);
        if let (Rootfs::NotShared { why }, Some(_), false) = (&rootfs, asked.size, bundle.readonly)
        {
            return Err(AnnotationError::SizeNotShared { why: why.clone() }.into());
        }
        if !delegated && is_kept {
            volumes = self.open_volumes(bundle, &places)?;
        }
        // Delegates have their own protection against these attacks.
        if !delegated {
            refuse_links(&bundle.root, &bundle.spec)?;
            refuse_over_proc(&bundle.root, &bundle.spec)?;
            needs.check_kinds(&bundle.root)?;
        }
        if !matches!(rootfs, Rootfs::Shared { .. }) {
            needs.make_in(&bundle.root, !has_id_mappings(&bundle.spec))?;
        }
        needs.make_start_in_volume()?;
        // The records of a shared and of a private rootfs were written before these were made.
        if matches!(rootfs, Rootfs::NotShared { .. }) {
            let intended = self.place.read()?;
            self.write_record(bundle, rootfs.clone(), order)?;
            if let Some(Record { rootfs: intended, .. }) = intended {
                self.give_lease_back(&intended)?;
            }
        }
        Ok(Made { rootfs, volumes })
    }

    /// Writes back what the container changed before its last end, before the image is identified: what is written back
    /// becomes a part of the rootfs's upper directory.
    fn settle(
        &self,
        bundle: &Bundle,
        delegated: bool,
        lock: &SnapshotLock,
    ) -> Result<Settled, LifecycleError> {
        let _step = step("look for what it changed before");
        let Some(kept) = self.bases.kept(lock)? else {
            return Ok(Settled { earlier: Earlier::Nothing, places: Vec::new() });
        };
        // An error here does not refuse the mount, because the rootfs may be another one afterwards.
        let places = (!delegated).then(|| places(&bundle.root, &bundle.spec).ok()).flatten();
        let earlier = self.bases.settle(self.id.as_str(), lock.volume(), &bundle.root, kept)?;
        Ok(Settled { earlier, places: places.unwrap_or_default() })
    }

    /// The name of the snapshot that is the container's rootfs, if it gets one.
    fn snapshot(&self) -> VolumeName {
        VolumeName::of_snapshot(&self.root, self.id.as_str())
    }

    /// Chooses the rootfs of the container.
    fn choose(&self, bundle: &Bundle, asked: &Asked, delegated: bool) -> Plan {
        let finds = step("find the image");
        let plan = plan(Facts {
            readonly: bundle.readonly,
            mode: asked.mode,
            mapped_ids: has_id_mappings(&bundle.spec),
            own_mounts: has_own_mounts(&bundle.spec),
            hook: asked.hook.as_deref(),
            image: self
                .bases
                .base_at(&bundle.root)
                .map_or_else(|| image::identify(&bundle.root, self.id.as_str()), Ok),
        });
        drop(finds);
        if let (Plan::Private(_), true, Mode::Auto, Some(hook)) =
            (&plan, bundle.readonly, asked.mode, &asked.hook)
        {
            tracing::info!(
                target: ASIDE,
                "container {} has a private rootfs: the hook {} may write into the root before the container starts; if the hook \
                 does not, the annotation dev.sharedroot.mode=shared shares the root",
                self.id,
                hook.display()
            );
        }
        // A mount in the shared rootfs does not propagate to the host, because that rootfs is in a mount namespace of
        // this process's own. The embedded engine's volumes were opened before that.
        match plan {
            Plan::Shared(_) if delegated && leads_out(&bundle.spec) => Plan::NotShared {
                why: "a volume of the container is shared with the host, and the delegate would bind that volume in another mount namespace".to_owned(),
            },
            Plan::Shared(_) if let Some(path) = device_in_root(&bundle.spec) => Plan::NotShared {
                why: format!("the device {} would be made in the container's rootfs", path.display()),
            },
            plan => plan,
        }
    }

    /// Makes the planned rootfs. A record of the intent is written before anything is made.
    fn prepare(
        &self,
        plan: Plan,
        bundle: &Bundle,
        needs: &Needs,
        (labels, size, earlier): (&Labels, Option<Size>, &Earlier),
        order: &Order<'_>,
    ) -> Result<Rootfs, LifecycleError> {
        let _step = step("prepare the rootfs");
        Ok(match plan {
            Plan::Shared(image) => {
                // The record states the intent: no command removes a base or a scaffold that a record names.
                let rootfs = |scaffold: Option<&ScaffoldName>| Rootfs::Shared {
                    base: image.key.clone(),
                    scaffold: scaffold.cloned(),
                };
                self.write_record(bundle, rootfs(None), order)?;
                self.take_lease(&rootfs(None))?;
                let intend = |name: &_| {
                    self.write_record(bundle, rootfs(Some(name)), order)?;
                    Ok(self.change_lease(&rootfs(None), &rootfs(Some(name)))?)
                };
                let wanted =
                    Wanted { missing: &|root| needs.missing(root), overlay: needs.overlay() };
                let label = labels.mount.as_ref();
                let prepared = prepare_shared(&self.bases, &image, &wanted, label, intend)?;
                let (root, scaffold) = match prepared {
                    Prepared::Root(root) => root,
                    Prepared::NotShared(why) => return Ok(not_shared(&self.id, why.to_string())),
                };
                let _step = step("bind the base in a mount namespace of this process");
                mount::enter_private_namespace()?;
                // There is nothing to undo: the bind mount ends with the namespace.
                root.attach(&bundle.root)?.keep();
                rootfs(scaffold.as_ref())
            }
            Plan::Private(image) => {
                let volume = self.snapshot();
                let rootfs = Rootfs::Private {
                    base: image.key.clone(),
                    volume: volume.clone(),
                    mount_point: bundle.root.clone(),
                };
                // The record states the intent: from here on `delete` undoes what this process began.
                self.write_record(bundle, rootfs.clone(), order)?;
                self.take_lease(&rootfs)?;
                let (id, label) = (self.id.as_str(), labels.mount.as_ref());
                let (volume, root_path) = (&volume, bundle.root.as_path());
                let overlay = (image.source.is_docker() && image::live_restore())
                    .then_some("Docker's daemon has live-restore on, and accepts only an overlay");
                let size = size.map(|size| Bytes(size.0));
                let place = Place { id, volume, root_path, label, size, earlier, overlay };
                match prepare_private(&self.bases, &image, place)? {
                    Prepared::Root(root) => root.attach(root_path)?,
                    Prepared::NotShared(why) => return Ok(not_shared(&self.id, why.to_string())),
                }
                rootfs
            }
            Plan::NotShared { why } => not_shared(&self.id, why),
        })
    }

    fn write_record(
        &self,
        bundle: &Bundle,
        rootfs: Rootfs,
        order: &Order<'_>,
    ) -> Result<(), RecordError> {
        let _step = step("write the record");
        self.place.write(&Record {
            id: self.id.to_string(),
            bundle: bundle.path.clone(),
            engine: order.choice.clone(),
            root_path: bundle.root.clone(),
            rootfs,
        })
    }

    /// Passes the container on to the embedded engine, which reads sharedroot's bundle.
    fn embed(
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
    fn delegate(
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

    /// Undoes what a failed `create` made. The first error is the one to report, so an error here is a warning.
    fn undo(&self) {
        if let Err(error) = self.release() {
            tracing::warn!("undo create {}: {error}", self.id);
        }
    }
}

/// Why the rootfs is not a snapshot; `None` if it is one.
fn other_root(plan: &Plan) -> Option<String> {
    match plan {
        Plan::Private(_) => None,
        Plan::Shared(_) => Some("the rootfs is read-only now".to_owned()),
        Plan::NotShared { why } => Some(why.clone()),
    }
}

fn not_shared(id: &ContainerId, why: String) -> Rootfs {
    let why = readable(&why);
    tracing::info!(target: ASIDE, "container {id} runs on the engine's rootfs, not shared: {why}");
    Rootfs::NotShared { why }
}

fn annotation<'a>(spec: &'a Spec, key: &str) -> Option<&'a str> {
    spec.annotations().as_ref()?.get(key).map(String::as_str)
}

fn wants_terminal(spec: &Spec) -> bool {
    spec.process().as_ref().and_then(Process::terminal).unwrap_or(false)
}

/// A namespace with a path belongs to another container or to the host; an empty path counts as none.
fn has_own_mounts(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref());
    let own = |namespace: &LinuxNamespace| {
        let path = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty());
        namespace.typ() == LinuxNamespaceType::Mount && path.is_none()
    };
    namespaces.unwrap_or_default().iter().any(own)
}

fn has_id_mappings(spec: &Spec) -> bool {
    let Some(linux) = spec.linux() else { return false };
    linux.uid_mappings().as_ref().is_some_and(|m| !m.is_empty())
}
