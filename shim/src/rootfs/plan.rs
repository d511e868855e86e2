//! Which root file system a container gets: a function of facts, without acts.

use crate::image::{Doubt, Image};

/// The annotation that turns sharing off, or asks for a snapshot.
const MODE: &str = "dev.sharedroot.mode";
/// The annotation for the size of a private rootfs.
const SIZE: &str = "dev.sharedroot.size";

/// A user's wish that is malformed or cannot be had.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// Not one of the words.
    #[error("annotations[\"{MODE}\"]: {value:?} is none of off, shared, private")]
    Mode {
        /// What is given.
        value: String,
    },
    /// Only where it can be honoured.
    #[error(
        "annotations[\"{MODE}\"]: shared needs a read-only root; run the container with --read-only"
    )]
    Writable,
    /// Sizes per container do not exist yet.
    #[error(
        "annotations[\"{SIZE}\"]: {value:?}: a size per container is not supported; \
         every private rootfs has the size of its base (base.size in the configuration)"
    )]
    Size {
        /// What is given.
        value: String,
    },
}

/// What a user asked for. Annotations are written by users, so they choose only among what is
/// safe for every user; they never say which image it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// By `root.readonly`.
    #[default]
    Auto,
    /// The rootfs as given.
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
        if let Some(value) = annotation(SIZE) {
            return Err(AnnotationError::Size { value: value.to_owned() });
        }
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

/// All that the plan depends on.
#[derive(Debug)]
pub struct Facts {
    /// `root.readonly`
    pub readonly: bool,
    /// The user's wish.
    pub mode: Mode,
    /// Whether the container has ID mappings of its own (`linux.uidMappings`).
    pub mapped_ids: bool,
    /// Whether the container gets a mount namespace of its own. In another, be it the host's, our bind is not to be seen,
    /// and nothing that is mounted there ends with the container.
    pub own_mounts: bool,
    /// The image, or why it is not known for certain.
    pub image: Result<Image, Doubt>,
}

/// The root file system a container gets.
#[derive(Debug)]
pub enum Plan {
    /// A read-only bind of the image's base.
    Shared(Image),
    /// An own snapshot of it.
    Private(Image),
    /// What the caller prepared.
    AsGiven {
        /// Why, for the log.
        why: String,
    },
}

/// Decides.
#[must_use]
pub fn plan(facts: Facts) -> Plan {
    let as_given = |why: &str| Plan::AsGiven { why: why.to_owned() };
    match facts {
        Facts { mode: Mode::Off, .. } => as_given("the annotation dev.sharedroot.mode is off"),
        Facts { mapped_ids: true, .. } => as_given("the container has ID mappings of its own"),
        Facts { own_mounts: false, .. } => {
            as_given("the container has no mount namespace of its own")
        }
        Facts { image: Err(doubt), .. } => Plan::AsGiven { why: doubt.to_string() },
        Facts { image: Ok(image), mode: Mode::Private, .. } => Plan::Private(image),
        Facts { image: Ok(image), readonly: true, .. } => Plan::Shared(image),
        Facts { image: Ok(image), .. } => Plan::Private(image),
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
        assert!(matches!(mode(&[(SIZE, "5G")], false), Err(AnnotationError::Size { .. })));
    }

    #[test]
    fn the_plan_follows_the_facts() {
        let image = || Ok(crate::image::example());
        let facts = |readonly, mode, mapped_ids| Facts {
            readonly,
            mode,
            mapped_ids,
            own_mounts: true,
            image: image(),
        };
        assert!(matches!(plan(facts(true, Mode::Auto, false)), Plan::Shared(_)));
        assert!(matches!(plan(facts(true, Mode::Shared, false)), Plan::Shared(_)));
        assert!(matches!(plan(facts(false, Mode::Auto, false)), Plan::Private(_)));
        assert!(matches!(plan(facts(true, Mode::Private, false)), Plan::Private(_)));
        assert!(matches!(plan(facts(true, Mode::Off, false)), Plan::AsGiven { .. }));
        assert!(matches!(plan(facts(true, Mode::Auto, true)), Plan::AsGiven { .. }));
        for mode in [Mode::Auto, Mode::Shared, Mode::Private] {
            let hosts = Facts { own_mounts: false, ..facts(true, mode, false) };
            assert!(matches!(plan(hosts), Plan::AsGiven { .. }), "{mode:?}");
        }
        let unknown = Facts { image: Err(Doubt::example()), ..facts(true, Mode::Auto, false) };
        assert!(matches!(plan(unknown), Plan::AsGiven { .. }));
    }
}
