//! The names that people and engines give to an image. They are only shown, and used to find a base. No container's root
//! depends on them.
//!
//! A base has the names that were given to it (`catalog.rs`), and the names that its engine has for the image now:
//!
//! | engine | where it stands |
//! |---|---|
//! | Docker with a graph driver | `repositories.json` and `imagedb/` beside the layer database (moby: reference/store.go, image/fs.go) |
//! | podman | `overlay-images/images.json` beside the layers (containers/storage: images.go) |
//!
//! containerd keeps names in its own database, which only containerd reads. So its images have no such names here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sharedroot_format::json;
use sharedroot_format::{BaseKey, ChainId, Digest};
use sharedroot_image::Source;
use sharedroot_sys::chain::chain;

use crate::catalog::Catalog;

/// The names of all bases at one moment.
#[derive(Debug, Default)]
pub struct Names {
    catalog: Catalog,
    docker: BTreeMap<(PathBuf, ChainId), BTreeSet<String>>,
    podman: BTreeMap<PathBuf, BTreeSet<String>>,
}

impl Names {
    /// Reads the stores of the engines that the bases came from, each store once. A store that cannot be read gives no names.
    #[must_use]
    pub fn of(catalog: Catalog) -> Self {
        let stores: BTreeSet<_> =
            catalog.all_facts().filter_map(|facts| Store::of(&facts.source)).collect();
        let mut names = Self { catalog, ..Self::default() };
        for store in stores {
            if let Err(error) = store.ask(&mut names) {
                tracing::debug!("names of images: {store:?}: {}", chain(&error));
            }
        }
        names
    }

    /// The catalog, with the other facts about the bases.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The names that were given to a base, sorted.
    #[must_use]
    pub fn given(&self, key: &BaseKey) -> Vec<String> {
        self.catalog.names_of(key).map(ToString::to_string).collect()
    }

    /// The names that its engine has for the image now, sorted.
    #[must_use]
    pub fn tags(&self, key: &BaseKey) -> Vec<String> {
        let Some(facts) = self.catalog.facts(key) else { return Vec::new() };
        let found = match (Store::of(&facts.source), &facts.source, facts.chain_id) {
            (Some(Store::Docker(store)), _, Some(chain)) => self.docker.get(&(store, chain)),
            (_, Source::Overlay { layers }, _) => {
                layers.first().and_then(|top| self.podman.get(top.path()))
            }
            _ => None,
        };
        found.into_iter().flatten().cloned().collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Store {
    /// `<docker-root>/image/overlay2`
    Docker(PathBuf),
    /// podman's `storage`. containerd's snapshots have the same source type and another path.
    Podman(PathBuf),
}

impl Store {
    fn of(source: &Source) -> Option<Self> {
        let above = |path: &Path, names| path.ancestors().nth(names).map(Path::to_owned);
        match source {
            // …/layerdb/sha256/CHAIN
            Source::Docker { layer } => above(layer, 3).map(Self::Docker),
            // …/overlay/LAYER/diff
            Source::Overlay { layers } => above(layers.first()?.path(), 3).map(Self::Podman),
            Source::Import { .. } | Source::Base => None,
        }
    }

    fn ask(&self, to: &mut Names) -> io::Result<()> {
        match self {
            Self::Docker(store) => {
                let Repositories { all } = read(&store.join("repositories.json"))?;
                // A reference by digest is not a name that a person would type.
                let named = all.into_values().flatten().filter(|(name, _)| !name.contains('@'));
                for (name, id) in named {
                    let config = store.join("imagedb/content/sha256").join(id.hex());
                    // An image that cannot be parsed, or was removed meanwhile, hides no other image.
                    let Ok(Config { rootfs }) = read(&config) else { continue };
                    let Some(chain) = ChainId::of_layers(&rootfs.diff_ids) else { continue };
                    to.docker.entry((store.clone(), chain)).or_default().insert(name);
                }
            }
            Self::Podman(store) => {
                let images: Vec<PodmanImage> = read(&store.join("overlay-images/images.json"))?;
                for PodmanImage { layer, names } in images {
                    let top = store.join("overlay").join(layer).join("diff");
                    to.podman.entry(top).or_default().extend(names);
                }
            }
        }
        Ok(())
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    json::parse(&json::read(File::open(path)?)?).map_err(io::Error::other)
}

/// Docker's `repositories.json`: repository, reference, image ID.
#[derive(Deserialize)]
struct Repositories {
    #[serde(rename = "Repositories")]
    all: BTreeMap<String, BTreeMap<String, Digest>>,
}

/// An image's configuration (image-spec: config.md).
#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct PodmanImage {
    #[serde(default)]
    layer: String,
    #[serde(default)]
    names: Vec<String>,
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sharedroot_image::LayerIdentity;

    use super::*;
    use crate::catalog::Facts;

    fn facts(chain_id: Option<ChainId>, source: Source) -> Facts {
        Facts { chain_id, source, made: "2026-01-01T00:00:00+00:00".to_owned(), tree: None }
    }

    #[test]
    fn docker_names_an_image_by_the_chain_of_its_layers() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("image/overlay2");
        let (id, diff) = ("a1".repeat(32), "b2".repeat(32));
        fs::create_dir_all(store.join("imagedb/content/sha256")).unwrap();
        let config = format!(r#"{{"os":"linux","rootfs":{{"diff_ids":["sha256:{diff}"]}}}}"#);
        fs::write(store.join("imagedb/content/sha256").join(&id), config).unwrap();
        let names = ["redis:7", "redis:latest", &format!("redis@sha256:{id}")]
            .map(|name| format!(r#""{name}":"sha256:{id}""#));
        let text = format!(r#"{{"Repositories":{{"redis":{{{}}}}}}}"#, names.join(","));
        fs::write(store.join("repositories.json"), text).unwrap();

        let chain: ChainId = format!("sha256:{diff}").parse().unwrap();
        let other: ChainId = format!("sha256:{id}").parse().unwrap();
        let key = |chain: &ChainId| BaseKey::of_chain(chain, None);
        let catalog = || {
            let mut catalog = Catalog::default();
            for chain in [chain, other] {
                let layer = store.join("layerdb/sha256").join(chain.hex());
                catalog.describe(&key(&chain), facts(Some(chain), Source::Docker { layer }));
            }
            catalog.name("mine".parse().unwrap(), &key(&chain));
            catalog
        };
        let names = Names::of(catalog());
        assert_eq!(names.tags(&key(&chain)), ["redis:7", "redis:latest"]);
        assert_eq!(names.given(&key(&chain)), ["mine"]);
        assert_eq!(names.tags(&key(&other)), [""; 0], "another image");
        fs::remove_file(store.join("repositories.json")).unwrap();
        assert_eq!(Names::of(catalog()).tags(&key(&chain)), [""; 0], "no store, no names");
    }

    #[test]
    fn podman_names_an_image_by_its_topmost_layer() {
        let dir = tempfile::tempdir().unwrap();
        let storage = dir.path().join("storage");
        let layer = storage.join("overlay/f00/diff");
        fs::create_dir_all(&layer).unwrap();
        fs::create_dir(storage.join("overlay-images")).unwrap();
        let text = r#"[{"id":"1","layer":"f00","names":["localhost/a:1"]},{"id":"2"}]"#;
        fs::write(storage.join("overlay-images/images.json"), text).unwrap();
        let layers = vec![LayerIdentity::at(&layer).unwrap()];
        let key: BaseKey = "ab".repeat(32).parse().unwrap();
        let mut catalog = Catalog::default();
        catalog.describe(&key, facts(None, Source::Overlay { layers }));
        assert_eq!(Names::of(catalog).tags(&key), ["localhost/a:1"]);
    }
}
