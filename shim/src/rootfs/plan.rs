//! Which rootfs a container gets: a function of facts, which changes nothing.

use std::path::Path;

use sharedroot_dm::Bytes;
use sharedroot_format::VolumeName;
use sharedroot_image::{Image, Source, Unidentified};
use sharedroot_sys::chain::chain;

use crate::config::Size;
use crate::config::annotations::{MODE, SIZE};

/// A user's annotation has a wrong form, or cannot be honoured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// The value is not an allowed word.
    #[error("annotations[\"{MODE}\"]: {value:?} is none of off, shared, private")]
    Mode {
        /// The value that was given.
        value: String,
    },
    /// `shared` is only possible for a read-only rootfs.
    #[error(
        "annotations[\"{MODE}\"]: shared needs a read-only root; run the container with --read-only"
    )]
    Writable,
    /// The value is not a size.
    #[error("annotations[\"{SIZE}\"]: {why}")]
    Size {
        /// The reason.
        why: String,
    },
    /// The snapshotter did not know the size when it made the snapshot.
    #[error(
        "annotations[\"{SIZE}\"]: the snapshotter gave a snapshot of {size}, and {wanted} was asked for; give the size to the \
         engine when it makes the container"
    )]
    SizeOfSnapshot {
        /// The size of the snapshot.
        size: Bytes,
        /// The size that was asked for.
        wanted: Bytes,
    },
    /// The size could not be enforced.
    #[error(
        "annotations[\"{SIZE}\"]: the container would run on the engine's rootfs, not shared ({why}), and no size is enforced there; \
         leave the annotation out, or remove the reason"
    )]
    SizeNotShared {
        /// Why the container has no snapshot.
        why: String,
    },
}

/// The size that a user asks for a container's rootfs, the image included. For a read-only rootfs any size is accepted.
///
/// # Errors
/// [`AnnotationError::Size`].
pub fn wanted_size<'a>(
    annotation: impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<Size>, AnnotationError> {
    let parse = |text: &str| text.parse().map_err(|why| AnnotationError::Size { why });
    annotation(SIZE).map(parse).transpose()
}

/// What a user asked for. Users write annotations, so an annotation chooses only between values that are safe for every user,
/// and never identifies the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// `root.readonly` decides.
    #[default]
    Auto,
    /// The engine's rootfs, not shared.
    Off,
    /// The shared base.
    Shared,
    /// A snapshot, also for a read-only container.
    Private,
}

impl Mode {
    /// Reads the annotations of a configuration.
    ///
    /// # Errors
    /// [`AnnotationError`] naming the annotation.
    pub fn of<'a>(
        annotation: impl Fn(&str) -> Option<&'a str>,
        readonly: bool,
    ) -> Result<Self, AnnotationError> {
        match annotation(MODE) {
            None => Ok(Self::Auto),
            Some("off") => Ok(Self::Off),
            Some("shared") if !readonly => Err(AnnotationError::Writable),
            Some("shared") => Ok(Self::Shared),
            Some("private") => Ok(Self::Private),
            Some(value) => Err(AnnotationError::Mode { value: value.to_owned() }),
        }
    }
}

/// The facts that the plan depends on.
#[derive(Debug)]
pub struct Facts<'a> {
    /// `root.readonly`
    pub readonly: bool,
    /// What the annotation asks for.
    pub mode: Mode,
    /// Whether the container has ID mappings of its own (`linux.uidMappings`).
    pub mapped_ids: bool,
    /// Whether the container gets a mount namespace of its own. In a shared namespace, such as the host's, sharedroot's bind
    /// mount would not be visible, or would not end with the container.
    pub own_mounts: bool,
    /// A hook that may write into the root before the container starts.
    pub hook: Option<&'a Path>,
    /// What the rootfs is.
    pub given: Given,
}

/// The rootfs that the engine gave, as far as it is known for certain.
#[derive(Debug)]
pub enum Given {
    /// An image, and what the container has over it.
    Image(Image),
    /// A snapshot of the snapshotter's for this container alone.
    Snapshot(Snapshot),
    /// Something else, for this reason.
    Unknown(Unidentified),
}

/// A snapshot that the snapshotter made for one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its volume.
    pub volume: VolumeName,
    /// The size of its device, which bounds what the container takes of the pool.
    pub size: Bytes,
}

/// The rootfs that a container gets.
#[derive(Debug)]
pub enum Plan {
    /// A read-only bind of the image's base.
    Shared(Image),
    /// A snapshot of the image's base.
    Private(Image),
    /// The snapshot that the snapshotter made, as it is.
    Snapshot(Snapshot),
    /// The rootfs that the engine prepared.
    NotShared {
        /// The reason, for the log.
        why: String,
    },
}

/// Chooses the rootfs.
#[must_use]
pub fn plan(facts: Facts<'_>) -> Plan {
    let not_shared = |why: &str| Plan::NotShared { why: why.to_owned() };
    match facts {
        // Nothing is shared, and nothing is mounted over it, whatever the container asks for.
        Facts { given: Given::Snapshot(snapshot), .. } => Plan::Snapshot(snapshot),
        Facts { mode: Mode::Off, .. } => not_shared("the annotation dev.sharedroot.mode is off"),
        Facts { mapped_ids: true, .. } => not_shared("the container has ID mappings of its own"),
        Facts { own_mounts: false, .. } => {
            not_shared("the container has no mount namespace of its own")
        }
        Facts { given: Given::Unknown(unidentified), .. } => {
            Plan::NotShared { why: chain(&unidentified) }
        }
        // A private rootfs is also read-only for the container, but not before its start. If the user knows that the
        // hook writes nothing, the user asks for `shared`.
        Facts {
            given: Given::Image(image),
            readonly: true,
            mode: Mode::Auto,
            hook: Some(_),
            ..
        } if !matches!(image.source, Source::Base) => Plan::Private(image),
        // What was written into the container before its start is put above the base.
        Facts {
            given: Given::Image(image),
            readonly: true,
            mode: Mode::Auto | Mode::Shared,
            ..
        } => Plan::Shared(image),
        // All containers see the mount of a base: they would also see a snapshot that is mounted over it.
        Facts { given: Given::Image(Image { source: Source::Base, .. }), .. } => not_shared(
            "the rootfs is the base itself, which is read-only; use --read-only, or give the container a rootfs of its own",
        ),
        // What was written into the container before its start is copied into the snapshot.
        Facts { given: Given::Image(image), .. } => Plan::Private(image),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(pairs: &[(&str, &str)], readonly: bool) -> Result<Mode, AnnotationError> {
        Mode::of(|key| pairs.iter().find(|(k, _)| *k == key).map(|(_, v)| *v), readonly)
    }

    #[test]
    fn annotations_choose_among_safe_things() {
        assert_eq!(mode(&[], false), Ok(Mode::Auto));
        assert_eq!(mode(&[(MODE, "off")], false), Ok(Mode::Off));
        assert_eq!(mode(&[(MODE, "private")], true), Ok(Mode::Private));
        assert_eq!(mode(&[(MODE, "shared")], true), Ok(Mode::Shared));
        assert_eq!(mode(&[(MODE, "shared")], false), Err(AnnotationError::Writable));
        assert!(matches!(mode(&[(MODE, "yes")], true), Err(AnnotationError::Mode { .. })));
    }

    #[test]
    fn a_size_is_a_number_and_a_unit() {
        let size = |value| wanted_size(|key| (key == SIZE).then_some(value).flatten());
        assert_eq!(size(None), Ok(None));
        assert_eq!(size(Some("5G")), Ok(Some(Size(5 << 30))));
        for wrong in ["", "0", "-1G", "5X", "1e9"] {
            let error = size(Some(wrong)).unwrap_err().to_string();
            assert!(error.starts_with("annotations[\"dev.sharedroot.size\"]"), "{error}");
        }
    }

    #[test]
    fn the_plan_follows_the_facts() {
        let image = || Given::Image(crate::testing::image());
        let base = || Given::Image(Image::of_base(crate::testing::key()));
        let facts = |readonly, mode, mapped_ids| Facts {
            readonly,
            mode,
            mapped_ids,
            own_mounts: true,
            hook: None,
            given: image(),
        };
        assert!(matches!(plan(facts(true, Mode::Auto, false)), Plan::Shared(_)));
        assert!(matches!(plan(facts(true, Mode::Shared, false)), Plan::Shared(_)));
        assert!(matches!(plan(facts(false, Mode::Auto, false)), Plan::Private(_)));
        assert!(matches!(plan(facts(true, Mode::Private, false)), Plan::Private(_)));
        assert!(matches!(plan(facts(true, Mode::Off, false)), Plan::NotShared { .. }));
        assert!(matches!(plan(facts(true, Mode::Auto, true)), Plan::NotShared { .. }));
        let of_base =
            |readonly, mode| plan(Facts { given: base(), ..facts(readonly, mode, false) });
        assert!(matches!(of_base(true, Mode::Auto), Plan::Shared(_)));
        assert!(matches!(of_base(false, Mode::Auto), Plan::NotShared { .. }));
        assert!(matches!(of_base(true, Mode::Private), Plan::NotShared { .. }));
        for mode in [Mode::Auto, Mode::Shared, Mode::Private] {
            let hosts = Facts { own_mounts: false, ..facts(true, mode, false) };
            assert!(matches!(plan(hosts), Plan::NotShared { .. }), "{mode:?}");
        }
        let hooked = |mode| Facts { hook: Some(Path::new("/hook")), ..facts(true, mode, false) };
        assert!(matches!(plan(hooked(Mode::Auto)), Plan::Private(_)));
        assert!(matches!(plan(hooked(Mode::Shared)), Plan::Shared(_)));
        let hooked = Facts { given: base(), ..hooked(Mode::Auto) };
        assert!(matches!(plan(hooked), Plan::Shared(_)));
        let snapshot =
            || Snapshot { volume: "layer-00000001-7".parse().unwrap(), size: Bytes::gib(1) };
        for (readonly, mode) in
            [(true, Mode::Auto), (false, Mode::Auto), (true, Mode::Shared), (true, Mode::Off)]
        {
            let given = Given::Snapshot(snapshot());
            let own = plan(Facts { given, ..facts(readonly, mode, true) });
            assert!(matches!(own, Plan::Snapshot(own) if own == snapshot()), "{readonly} {mode:?}");
        }
        let given = Given::Unknown(crate::testing::unidentified());
        let unknown = Facts { given, ..facts(true, Mode::Auto, false) };
        assert!(matches!(plan(unknown), Plan::NotShared { .. }));
    }
}
