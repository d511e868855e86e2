//! The image in a source: its configuration, and the files of its layers.

use serde::Deserialize;
use sharedroot_format::ChainId;
use sharedroot_format::Digest;

use super::error::ImportError;
use super::files::{Files, check, json};
use super::index::{self, LayerFile};

/// The most layers of an image: Docker's own bound, which is below that of overlay.
const MOST_LAYERS: usize = 127;

/// One image of a source.
#[derive(Debug)]
pub(super) struct Contents {
    /// The name of the image in the source, if it has exactly one.
    pub(super) name: Option<String>,
    pub(super) chain_id: ChainId,
    /// The lowest first.
    pub(super) layers: Vec<Layer>,
}

/// One layer of an image.
#[derive(Debug)]
pub(super) struct Layer {
    /// The file in the source.
    pub(super) blob: LayerFile,
    /// The digest of the tar in the file.
    pub(super) diff_id: Digest,
}

/// What the configuration of an image says of its layers.
#[derive(Debug, Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<Digest>,
}

/// An element of a `docker save` archive's manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Contents {
    /// Finds the image of an OCI layout or of an archive of `docker save`; none if the source is neither. Of several images
    /// `wanted` names one.
    pub(super) fn of(files: &Files, wanted: Option<&str>) -> Result<Option<Self>, ImportError> {
        // An archive of Docker 25 and later is both. The layout has more digests to check.
        if files.find("oci-layout")?.is_some() && files.find("index.json")?.is_some() {
            let found = index::resolve(files, wanted)?;
            return Self::new(files, found.name, &found.config, found.layers).map(Some);
        }
        if files.find("manifest.json")?.is_none() {
            return Ok(None);
        }
        let text = files.text("manifest.json")?;
        let saved: Vec<Saved> = json(files, "manifest.json", &text)?;
        let tags = |saved: &Saved| saved.repo_tags.clone().unwrap_or_default();
        let is_wanted = |saved: &&Saved| wanted.is_some_and(|w| tags(saved).iter().any(|t| t == w));
        let one = match saved.as_slice() {
            [one] => one,
            several => several.iter().find(is_wanted).ok_or_else(|| ImportError::Several {
                path: files.path().to_owned(),
                images: several.iter().flat_map(tags).take(20).collect(),
            })?,
        };
        let config = files.text(&one.config)?;
        // The name of the configuration has its digest: `HEX.json`, and `blobs/sha256/HEX` since Docker 25.
        let file = one.config.rsplit('/').next().unwrap_or_default();
        let digest = format!("sha256:{}", file.trim_end_matches(".json"));
        if let Ok(expected) = digest.parse() {
            check(files, &one.config, &config, expected)?;
        }
        let name = match tags(one).as_slice() {
            [name] => Some(name.clone()),
            _ => None,
        };
        let layer = |file: &String| LayerFile { file: file.clone(), expected: None };
        let layers = one.layers.iter().map(layer).collect();
        Self::new(files, name, &config, layers).map(Some)
    }

    fn new(
        files: &Files,
        name: Option<String>,
        config: &[u8],
        layers: Vec<LayerFile>,
    ) -> Result<Self, ImportError> {
        let Config { rootfs: RootFs { kind, diff_ids } } =
            json(files, "its configuration", config)?;
        let unusable = |what: String| ImportError::Image { path: files.path().to_owned(), what };
        if kind != "layers" {
            return Err(unusable(format!("its root is of the type {kind:?}, not \"layers\"")));
        }
        if layers.len() != diff_ids.len() {
            let (blobs, ids) = (layers.len(), diff_ids.len());
            return Err(unusable(format!("it has {blobs} layers, and {ids} diff IDs")));
        }
        if layers.len() > MOST_LAYERS {
            return Err(unusable(format!(
                "it has {} layers; Docker's most is {MOST_LAYERS}",
                layers.len()
            )));
        }
        let chain_id =
            ChainId::of_layers(&diff_ids).ok_or_else(|| unusable("it has no layers".into()))?;
        let layers = layers.into_iter().zip(diff_ids);
        let layers = layers.map(|(blob, diff_id)| Layer { blob, diff_id }).collect();
        Ok(Self { name, chain_id, layers })
    }
}
