//! Which rootfs a container gets, and how the rootfs is made.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};
use sharedroot_bases::{
    Earlier, LayerRoot, Place, Prepared, SnapshotLock, Wanted, prepare_private, prepare_shared,
};
use sharedroot_dm::Bytes;
use sharedroot_engine::{Bundle, Labels, leads_out};
use sharedroot_format::{ContainerId, ScaffoldName, VolumeName};
use sharedroot_image as image;
use sharedroot_sys::chain::{chain, readable};
use sharedroot_sys::mount;
use sharedroot_sys::step::step;

use super::order::Order;
use super::{Container, LifecycleError};
use crate::config::Size;
use crate::log::ASIDE;
use crate::record::Rootfs;
use crate::rootfs::{
    AnnotationError, Facts, Given, Mode, Needs, Plan, Snapshot, device_in_root, places, plan,
};

/// What the configuration asks of the rootfs.
pub(super) struct Asked {
    pub(super) mode: Mode,
    pub(super) size: Option<Size>,
    /// The hook that may write into the rootfs.
    pub(super) hook: Option<PathBuf>,
}

/// The changes of an earlier start that were still in the pool, and what writing them back may have changed.
pub(super) struct Settled {
    pub(super) earlier: Earlier,
    /// Where the mounts landed in the engine's rootfs before the changes were written back, if there were changes.
    pub(super) places: Vec<PathBuf>,
}

/// What a rootfs needs besides its image.
pub(super) struct RootfsOptions<'a> {
    /// The mount points.
    pub(super) needs: &'a Needs,
    /// The labels of its files and of the container's processes.
    pub(super) labels: &'a Labels,
    /// How much a private rootfs may hold.
    pub(super) size: Option<Size>,
    /// What an earlier start left.
    pub(super) earlier: &'a Earlier,
}

impl Container {
    /// Writes back what the container changed before its last end, before the image is identified: what is written back
    /// becomes a part of the rootfs's upper directory.
    pub(super) fn settle(
        &self,
        bundle: &Bundle,
        delegated: bool,
        lock: &SnapshotLock,
    ) -> Result<Settled, LifecycleError> {
        let _step = step("look for what it changed before");
        let Some(kept) = self.bases.kept(lock)? else {
            return Ok(Settled { earlier: Earlier::Nothing, places: Vec::new() });
        };
        // An error here does not refuse the mount, because the container may get another rootfs afterwards.
        let places = (!delegated).then(|| places(&bundle.root, &bundle.spec).ok()).flatten();
        let earlier = self.bases.settle(self.id.as_str(), lock.volume(), &bundle.root, kept)?;
        Ok(Settled { earlier, places: places.unwrap_or_default() })
    }

    /// The name of the snapshot that is the container's rootfs, if it gets one.
    pub(super) fn snapshot(&self) -> VolumeName {
        VolumeName::of_snapshot(&self.engines.root, self.id.as_str())
    }

    /// What the engine mounted at the root, by the kernel's own mount and the engine's store.
    fn given(&self, bundle: &Bundle) -> Given {
        let found = match self.bases.layer_at(&bundle.root) {
            Some(LayerRoot::Own { volume, size, .. }) => {
                return Given::Snapshot(Snapshot { volume, size });
            }
            Some(LayerRoot::Shared(image)) => Some(image),
            None => self.bases.base_at(&bundle.root),
        };
        match found.map_or_else(|| image::identify(&bundle.root, self.id.as_str()), Ok) {
            Ok(image) => Given::Image(image),
            Err(unidentified) => Given::Unknown(unidentified),
        }
    }

    /// Refuses a container that would run on a base itself, and could shut down its file system (`Needs::overlay`).
    pub(super) fn protect_base(
        &self,
        bundle: &Bundle,
        needs: &Needs,
        rootfs: &Rootfs,
    ) -> Result<(), LifecycleError> {
        if !needs.overlay() {
            return Ok(());
        }
        let given = || self.bases.layer_at(&bundle.root);
        let why = match rootfs {
            Rootfs::Snapshot { .. } => {
                let is_view = matches!(given(), Some(LayerRoot::Own { is_sealed: true, .. }));
                is_view.then_some("the root is a view of a layer")
            }
            Rootfs::NotShared { why } => {
                let is_base = self.bases.base_at(&bundle.root).is_some()
                    || matches!(given(), Some(LayerRoot::Shared(_)));
                is_base.then_some(why.as_str())
            }
            Rootfs::Shared { .. } | Rootfs::Private { .. } => None,
        };
        match why {
            Some(why) => Err(LifecycleError::OnBase { id: self.id.clone(), why: why.to_owned() }),
            None => Ok(()),
        }
    }

    /// Chooses the rootfs of the container.
    pub(super) fn choose(&self, bundle: &Bundle, asked: &Asked, delegated: bool) -> Plan {
        let finds = step("find the image");
        let plan = plan(Facts {
            readonly: bundle.readonly,
            mode: asked.mode,
            mapped_ids: has_id_mappings(&bundle.spec),
            own_mounts: has_own_mounts(&bundle.spec),
            hook: asked.hook.as_deref(),
            given: self.given(bundle),
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
    pub(super) fn prepare(
        &self,
        plan: Plan,
        bundle: &Bundle,
        &RootfsOptions { needs, labels, size, earlier }: &RootfsOptions<'_>,
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
                    Prepared::NotShared(why) => return Ok(not_shared(&self.id, chain(&why))),
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
                    Prepared::NotShared(why) => return Ok(not_shared(&self.id, chain(&why))),
                }
                rootfs
            }
            Plan::Snapshot(Snapshot { volume, size: given }) => {
                let wanted = size.map(|size| Bytes(size.0)).filter(|wanted| given > *wanted);
                if let (Some(wanted), false) = (wanted, bundle.readonly) {
                    return Err(AnnotationError::SizeOfSnapshot { size: given, wanted }.into());
                }
                Rootfs::Snapshot { volume }
            }
            Plan::NotShared { why } => not_shared(&self.id, why),
        })
    }
}

/// Why the rootfs is not a snapshot; `None` if it is one.
pub(super) fn other_root(plan: &Plan) -> Option<String> {
    match plan {
        Plan::Private(_) => None,
        Plan::Shared(_) => Some("the rootfs is read-only now".to_owned()),
        Plan::Snapshot(_) => Some("the rootfs is a snapshot of the snapshotter's now".to_owned()),
        Plan::NotShared { why } => Some(why.clone()),
    }
}

fn not_shared(id: &ContainerId, why: String) -> Rootfs {
    let why = readable(&why);
    tracing::info!(target: ASIDE, "container {id} runs on the engine's rootfs, not shared: {why}");
    Rootfs::NotShared { why }
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

pub(super) fn has_id_mappings(spec: &Spec) -> bool {
    let Some(linux) = spec.linux() else { return false };
    linux.uid_mappings().as_ref().is_some_and(|m| !m.is_empty())
}
