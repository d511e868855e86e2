//! `create`, and what `run` and `restore` have in common with `create`: plan, record, prepare, pass on to the engine.

use std::path::Path;

use oci_spec::runtime::Spec;
use sharedroot_bases::{Earlier, RootfsError};
use sharedroot_engine::{
    BindMounts, Bundle, CallersHooks, Choice, Engine, Labels, may_write_root, offer_notify,
    refuse_others,
};
use sharedroot_sys::process_start::began;
use sharedroot_sys::step::step;

use super::handover::Handed;
use super::order::Order;
use super::root::{Asked, RootfsOptions, Settled, has_id_mappings, other_root};
use super::story::Created;
use super::{Container, LifecycleError, tell};
use crate::cli::Verb;
use crate::record::{Lock, Record, RecordError, Rootfs};
use crate::rootfs::{
    AnnotationError, Mode, Needs, Plan, refuse_links, refuse_over_proc, wanted_size,
};
use crate::starts::Step;

/// What an engine gets.
struct Made {
    rootfs: Rootfs,
    /// The opened volumes; a delegate opens its own.
    volumes: BindMounts,
}

impl Container {
    /// Makes the container and passes it on to `engine`. If the container cannot be made, everything is as before.
    /// Returns the exit status of the verb.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn create(&self, engine: &Engine, order: &Order<'_>) -> Result<u8, LifecycleError> {
        Ok(self.create_claimed(engine, order)?.0)
    }

    /// Does the work of [`Self::create`]. Returns the lock of the container, too.
    pub(super) fn create_claimed(
        &self,
        engine: &Engine,
        order: &Order<'_>,
    ) -> Result<(u8, Lock), LifecycleError> {
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
        self.require_none(engine)?;
        let mut lock = self.claim(engine)?;
        let adapted = match engine {
            Engine::Embedded(embedded) => self.adapt(embedded, &mut bundle, &order.options),
            // A delegate reads the caller's own configuration and interprets it by itself.
            Engine::Delegate(_) => Labels::of(&bundle.spec)
                .map(|labels| (labels, CallersHooks::default()))
                .map_err(LifecycleError::from),
        };
        let (labels, hooks) = adapted.inspect_err(|_| self.undo(&lock))?;
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
            self.undo(&lock);
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
        Ok((handed.status, lock))
    }

    fn require_none(&self, engine: &Engine) -> Result<(), LifecycleError> {
        match self.engine.exists()? || engine.has_traces() {
            true => Err(RecordError::Exists { id: self.id.clone() }.into()),
            false => Ok(()),
        }
    }

    /// Claims the ID, also if a `create` or `delete` that died left a record of that ID.
    fn claim(&self, engine: &Engine) -> Result<Lock, LifecycleError> {
        let exists = match self.place.claim() {
            Err(exists @ RecordError::Exists { .. }) => exists,
            claimed => return Ok(claimed?),
        };
        // Held until the record is gone, or another `create` of the ID would remove what this one makes.
        let Some(abandoned) = self.place.abandoned()? else { return Err(exists.into()) };
        // Another `create` may have made its container since the first look.
        self.require_none(engine)?;
        if let Engine::Delegate(delegate) = &self.engine {
            delegate.end_orphan();
        }
        self.release(&abandoned, &self.lock_root("create")?)?;
        drop(abandoned);
        Ok(self.place.claim()?)
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
        // Volumes are opened, and links are read, in the engine's rootfs before another rootfs is made. The other rootfs has
        // the same links. A shared rootfs is mounted in a mount namespace of this process's own, where a volume would not be a
        // peer of the host's mount any more; and a base has mount points for its engine, whose modes are not the image's. A
        // kept snapshot has its own links, so the links are read in the snapshot.
        let is_kept = matches!(earlier, Earlier::Root(_));
        let mut volumes = BindMounts::default();
        if !delegated && !is_kept {
            volumes = self.open_volumes(bundle, &places)?;
        }
        let options = RootfsOptions { needs, labels, size: asked.size, earlier: &earlier };
        let rootfs = self.prepare(plan, bundle, &options, order)?;
        // Before the record says that the rootfs is not shared: by the record of the intent, the undo removes the note.
        if let (Rootfs::NotShared { why }, Some(_), false) = (&rootfs, asked.size, bundle.readonly)
        {
            return Err(AnnotationError::SizeNotShared { why: why.clone() }.into());
        }
        self.protect_base(bundle, needs, &rootfs)?;
        // The records of a shared and of a private rootfs were written before these were made.
        if matches!(rootfs, Rootfs::Snapshot { .. } | Rootfs::NotShared { .. }) {
            let intended = self.place.read()?;
            self.write_record(bundle, rootfs.clone(), order)?;
            if let Some(Record { rootfs: intended, .. }) = intended {
                self.give_lease_back(&intended)?;
            }
        }
        drop(lock);
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
            match has_id_mappings(&bundle.spec) {
                false => needs.make_in(&bundle.root)?,
                true => needs.make_start_in(&bundle.root)?,
            }
        }
        needs.make_start_in_volume()?;
        Ok(Made { rootfs, volumes })
    }

    pub(super) fn write_record(
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
}

fn annotation<'a>(spec: &'a Spec, key: &str) -> Option<&'a str> {
    spec.annotations().as_ref()?.get(key).map(String::as_str)
}
