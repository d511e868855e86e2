//! The image in a source: its configuration, and the files of its layers.

use serde::Deserialize;
use sharedroot_format::ChainId;
use sharedroot_format::Digest;

use super::error::ImportError;
use super::files::{Files, check};
use super::index::{self, LayerFile};
use super::json::{Shape, Shaped, json};

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
#[cfg_attr(feature = "fuzz", derive(serde::Serialize))]
#[derive(Debug, Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[cfg_attr(feature = "fuzz", derive(serde::Serialize))]
#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<Digest>,
}

impl Shaped for Config {
    const SHAPE: Shape = Shape::Object(&[("rootfs", RootFs::SHAPE)]);
}

impl Shaped for RootFs {
    const SHAPE: Shape = Shape::Object(&[("type", Shape::Any), ("diff_ids", Shape::Any)]);
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

impl Shaped for Saved {
    const SHAPE: Shape = Shape::Object(&[
        ("Config", Shape::Any),
        ("RepoTags", Shape::Any),
        ("Layers", Shape::Any),
        ("Parent", Shape::Any),
        ("LayerSources", Shape::Any),
    ]);
}

impl Saved {
    fn tags(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }

    /// Whether `name`, which may begin with a registry, is a name of the image.
    fn has_name(&self, name: &str) -> bool {
        self.tags().iter().any(|tag| {
            name.strip_suffix(tag.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        })
    }
}

impl Contents {
    /// Finds the image of an OCI layout or of an archive of `docker save`; none if the source is neither. Of several images
    /// `wanted` names one.
    pub(super) fn of(files: &Files, wanted: Option<&str>) -> Result<Option<Self>, ImportError> {
        let saved: Option<Vec<Saved>> = match files.find("manifest.json")? {
            Some(_) => Some(json(files, "manifest.json", &files.only_text("manifest.json")?)?),
            None => None,
        };
        // An archive of Docker 25 and later is both. The layout has more digests to check.
        if files.find("oci-layout")?.is_some() && files.find("index.json")?.is_some() {
            let found = index::resolve(files, wanted)?;
            if let Some(saved) = saved {
                let names = [wanted, found.name.as_deref()];
                is_one_image(files, &saved, &names, Digest::of(&found.config))?;
            }
            return Self::new(files, found.name, &found.config, found.layers).map(Some);
        }
        saved.map(|saved| Self::saved(files, &saved, wanted)).transpose()
    }

    /// Finds the image of an archive of `docker save`.
    fn saved(files: &Files, saved: &[Saved], wanted: Option<&str>) -> Result<Self, ImportError> {
        let is_wanted = |one: &&Saved| wanted.is_some_and(|w| one.tags().iter().any(|t| t == w));
        let one = match saved {
            [one] => Some(one),
            several => match several.iter().filter(is_wanted).collect::<Vec<_>>()[..] {
                // Docker gives the name to the last one.
                [one, ref others @ ..] if others.iter().all(|o| o.config == one.config) => {
                    Some(one)
                }
                _ => None,
            },
        };
        let one = one.ok_or_else(|| ImportError::Several {
            path: files.path().to_owned(),
            images: saved.iter().flat_map(Saved::tags).take(20).cloned().collect(),
        })?;
        let config = files.only_text(&one.config)?;
        // The name of the configuration has its digest: `HEX.json`, and `blobs/sha256/HEX` since Docker 25.
        let file = one.config.rsplit('/').next().unwrap_or_default();
        let digest = format!("sha256:{}", file.trim_end_matches(".json"));
        if let Ok(expected) = digest.parse() {
            check(files, &one.config, &config, expected)?;
        }
        let name = match one.tags() {
            [name] => Some(name.clone()),
            _ => None,
        };
        let layer = |file: &String| LayerFile { file: file.clone(), expected: None };
        let layers = one.layers.iter().map(layer).collect();
        Self::new(files, name, &config, layers)
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

/// Checks that manifest.json, which Docker reads, names the image that index.json names, which has one of `names` and the
/// configuration `config`.
fn is_one_image(
    files: &Files,
    saved: &[Saved],
    names: &[Option<&str>],
    config: Digest,
) -> Result<(), ImportError> {
    let is_same = |one: &Saved| -> Result<bool, ImportError> {
        Ok(Digest::of(&files.only_text(&one.config)?) == config)
    };
    let is_named = |one: &&Saved| names.iter().flatten().any(|name| one.has_name(name));
    let mut named: Vec<_> = saved.iter().filter(is_named).collect();
    if let [one] = saved {
        named = vec![one];
    }
    let all = match named.is_empty() {
        false => named.into_iter().map(is_same).collect::<Result<Vec<_>, _>>()?,
        // The images have other names in manifest.json. One of them must be this one.
        true => vec![saved.iter().map(is_same).collect::<Result<Vec<_>, _>>()?.contains(&true)],
    };
    if all.iter().all(|same| *same) {
        return Ok(());
    }
    let what = "index.json and manifest.json name different images";
    Err(ImportError::Image { path: files.path().to_owned(), what: what.to_owned() })
}

/// What this reader reads of a configuration; none if it refuses the text.
#[cfg(feature = "fuzz")]
pub(super) fn configuration(text: &[u8]) -> Option<serde_json::Value> {
    serde_json::to_value(super::json::parse::<Config>(text).ok()?).ok()
}
