//! An image for tests that need one.

use sharedroot_format::{BaseKey, ChainId};
use sharedroot_image::{Image, InitFiles, Source, Top, Unidentified};

fn chain() -> ChainId {
    format!("sha256:{}", "a".repeat(64)).parse().expect("a chain ID")
}

/// The key of the image's base.
pub(crate) fn key() -> BaseKey {
    BaseKey::of_chain(&chain(), None)
}

/// An image of two layers, as found in Docker's layer database.
pub(crate) fn image() -> Image {
    Image {
        key: key(),
        chain_id: Some(chain()),
        layers: vec!["/layers/2/diff".into(), "/layers/1/diff".into()],
        upper: None,
        init: InitFiles::AsDocker,
        top: Top::OF_DOCKER,
        source: Source::Docker { layer: "/layerdb".into() },
    }
}

/// The reason why there is no image.
pub(crate) fn unidentified() -> Unidentified {
    Unidentified::NotADockerRootfs { root_path: "/bundle/rootfs".into() }
}
