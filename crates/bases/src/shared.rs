//! The root of a read-only container: the base, with the missing mount points above it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use sharedroot_format::ScaffoldName;
use sharedroot_image::{Image, Upper};
use sharedroot_label::MountLabel;
use sharedroot_sys::mount::{self, Detached};
use sharedroot_sys::step::step;

use super::base::MountedBase;
use super::labels::{context, label_at};
use super::missing::Missing;
use super::skeleton::Skeleton;
use crate::bases::Bases;
use crate::containers::ContainersError;
use crate::error::RootfsError;
use crate::prepared::Prepared;

/// What must be in the root of one container, because nothing can be created in a read-only root later.
pub struct Wanted<'a> {
    /// Lists what a root lacks, sorted.
    pub missing: &'a dyn Fn(BorrowedFd<'_>) -> Vec<Missing>,
    /// Whether the root must be an overlay although nothing is missing.
    pub overlay: bool,
}

/// A detached bind of the image's base, or of what is above the base. If that is a scaffold, its name is returned, too.
///
/// `intend` records that the container uses a scaffold, before the container gets it. `label` is for files of this container
/// alone.
///
/// # Errors
/// [`RootfsError`]; the host's mount table is as before, except for the base and the scaffold.
pub fn prepare_shared(
    bases: &Bases,
    image: &Image,
    wanted: &Wanted<'_>,
    label: Option<&MountLabel>,
    intend: impl FnOnce(&ScaffoldName) -> Result<(), ContainersError>,
) -> Result<Prepared<(Detached, Option<ScaffoldName>)>, RootfsError> {
    Prepared::of(prepare(bases, image, wanted, label, intend))
}

fn prepare(
    bases: &Bases,
    image: &Image,
    wanted: &Wanted<'_>,
    label: Option<&MountLabel>,
    intend: impl FnOnce(&ScaffoldName) -> Result<(), ContainersError>,
) -> Result<(Detached, Option<ScaffoldName>), RootfsError> {
    let base = bases.mounted_base(image)?;
    let bound = mount::bind(&base.at)?;
    if bound.device() != Some(base.device) {
        // An administrator removed the base between the two calls: only the bare mount point is here.
        return Err(base.removed());
    }
    Ok(match &image.upper {
        Some(Upper { path, empty: false }) => {
            (bases.with_upper(&base, path, wanted, label).map_err(base.cannot_carry(path))?, None)
        }
        _ => match (wanted.missing)(bound.as_fd()).as_slice() {
            [] if !wanted.overlay => (bound, None),
            missing => {
                let _step = step("put the scaffold above the base");
                let first = missing.first().map_or(Path::new("/"), |missing| &missing.path);
                let scaffold = bases.scaffolds().above(&base, &bound, missing, intend);
                let (root, name) = scaffold.map_err(base.cannot_carry(first))?;
                (root, Some(name))
            }
        },
    })
}

impl Bases {
    /// The base with what the container wrote over its image, and with the mount points that both lack. This root is for one
    /// container alone.
    fn with_upper(
        &self,
        base: &MountedBase<'_>,
        upper: &Path,
        wanted: &Wanted<'_>,
        label: Option<&MountLabel>,
    ) -> Result<Detached, RootfsError> {
        // The layers are given by path: the base must stay at its path until the layers are opened.
        let lock = self.lock_base(base.key)?;
        base.check(&lock)?;
        let bases = label.is_none().then(|| label_at(&base.at)).transpose()?.flatten();
        let options: Vec<_> = label.or(bases.as_ref()).map(context).into_iter().collect();
        let layers = [upper, base.at.as_path()];
        let merged = mount::layers(&layers, &options)?;
        // The configuration decides how long the next two steps take, and a volume may not answer.
        drop(lock);
        let missing = (wanted.missing)(merged.as_fd());
        if missing.is_empty() {
            return Ok(merged);
        }
        let skeleton = Skeleton::of(&missing, merged.as_fd())?;
        let lock = self.lock_base(base.key)?;
        base.check(&lock)?;
        skeleton.raise(&layers, &self.scaffolds().dir(), &options, &lock)
    }
}
