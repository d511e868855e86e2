//! The shared rootfs: the base, bound read-only over `root.path` where only this container's
//! processes see it; with what the base lacks put above it.

use std::os::fd::AsFd;
use std::path::Path;

use sharedroot_format::ScaffoldName;
use sharedroot_image::{Image, Upper};
use sharedroot_label::MountLabel;
use sharedroot_sys::mount::{self, Detached};

use super::base::MountedBase;
use super::labels::{context, label_at};
use super::needs::Needs;
use super::skeleton::raise;
use super::{RootfsError, Storage};
use crate::log::step;

/// Binds the image's base over `root_path` in a mount namespace of this process's own. Returns the name of the scaffold, if
/// it needs one.
///
/// `needs` must exist in the root, because nothing can be created there any more. `intend` records that the container has a
/// scaffold before it has it. `label` is for files of this container alone.
///
/// # Errors
/// [`RootfsError`]; the host's mount table is as before, but for the base.
pub fn prepare_shared(
    storage: &Storage,
    image: &Image,
    root_path: &Path,
    needs: &Needs,
    label: Option<&MountLabel>,
    intend: impl FnOnce(&ScaffoldName) -> Result<(), RootfsError>,
) -> Result<Option<ScaffoldName>, RootfsError> {
    let base = storage.mounted_base(image)?;
    let bound = mount::bind(&base.at)?;
    if bound.device() != Some(base.device) {
        // Between the two calls an administrator removed the base: this is the bare mount point.
        return Err(base.removed());
    }
    let (root, scaffold) = match &image.upper {
        Some(Upper { path, empty: false }) => {
            (storage.with_upper(&base, path, needs, label).map_err(base.cannot_carry(path))?, None)
        }
        _ => match needs.missing(&bound).as_slice() {
            [] if !needs.overlay() => (bound, None),
            missing => {
                let _step = step("put the scaffold above the base");
                let first = missing.first().map_or(Path::new("/"), |missing| &missing.path);
                let scaffold = storage.scaffold(&base, &bound, missing, intend);
                let (root, name) = scaffold.map_err(base.cannot_carry(first))?;
                (root, Some(name))
            }
        },
    };
    let _step = step("bind the base in a mount namespace of this process");
    mount::enter_private_namespace()?;
    // Nothing to undo: the bind ends with the namespace.
    root.attach(root_path)?.keep();
    Ok(scaffold)
}

impl Storage {
    /// The base with what the container wrote over its image, and with what both lack: for this container alone.
    fn with_upper(
        &self,
        base: &MountedBase<'_>,
        upper: &Path,
        needs: &Needs,
        label: Option<&MountLabel>,
    ) -> Result<Detached, RootfsError> {
        // The layers are given by path: until they are opened the base must stay there.
        let _stays = self.lock_base(base.key)?;
        base.check()?;
        let bases = label.is_none().then(|| label_at(&base.at)).transpose()?.flatten();
        let options: Vec<_> = label.or(bases.as_ref()).map(context).into_iter().collect();
        let layers = [upper, base.at.as_path()];
        let merged = mount::layers(&layers, &options)?;
        match needs.missing(&merged).as_slice() {
            [] => Ok(merged),
            missing => raise(&layers, merged.as_fd(), missing, &self.scaffolds(), &options),
        }
    }
}
