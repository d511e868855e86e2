//! An OCI layout: index.json leads to one manifest, directly or through more indexes (image-spec: image-layout.md,
//! image-index.md).

use std::collections::HashMap;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use sharedroot_format::Digest;

use super::error::ImportError;
use super::files::{Files, check};
#[cfg(feature = "fuzz")]
use super::json::parse;
use super::json::{Shape, Shaped, json};
use super::platform::{self, Platform};

/// How many indexes may lead to a manifest, one in another. More would be a circle, or an attack.
const DEEPEST: usize = 4;

/// What one manifest says of its image.
#[derive(Debug)]
pub(super) struct ResolvedManifest {
    pub(super) name: Option<String>,
    pub(super) config: Vec<u8>,
    /// The lowest first.
    pub(super) layers: Vec<LayerFile>,
}

/// The file of a layer in the source.
#[derive(Debug)]
pub(super) struct LayerFile {
    /// The name of the file in the source.
    pub(super) file: String,
    /// What a manifest says of the file; none where no manifest names it.
    pub(super) expected: Option<Expected>,
}

/// What a manifest says of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    pub(super) digest: Digest,
    /// In bytes.
    pub(super) size: u64,
}

#[cfg_attr(feature = "fuzz", derive(serde::Serialize))]
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: Option<String>,
    digest: Digest,
    #[serde(deserialize_with = "size")]
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
}

/// A size as Go reads one: in 63 bits.
fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(deserializer)?;
    i64::try_from(size).map(|_| size).map_err(D::Error::custom)
}

impl Shaped for Descriptor {
    const SHAPE: Shape = Shape::Object(&[
        ("mediaType", Shape::Any),
        ("artifactType", Shape::Any),
        ("digest", Shape::Any),
        ("size", Shape::Any),
        ("urls", Shape::Any),
        ("data", Shape::Any),
        ("platform", Platform::SHAPE),
        ("annotations", Shape::Any),
    ]);
}

/// An index, which has `manifests`, or a manifest, which has `config` and `layers`.
#[cfg_attr(feature = "fuzz", derive(serde::Serialize))]
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    /// The layers of the first form of Docker's manifests.
    #[serde(default, skip_serializing)]
    fs_layers: Option<IgnoredAny>,
}

impl Shaped for Document {
    const SHAPE: Shape = Shape::Object(&[
        ("schemaVersion", Shape::Any),
        ("mediaType", Shape::Any),
        ("artifactType", Shape::Any),
        ("manifests", Shape::List(&Descriptor::SHAPE)),
        ("config", Descriptor::SHAPE),
        ("layers", Shape::List(&Descriptor::SHAPE)),
        ("fsLayers", Shape::Any),
        ("subject", Shape::Any),
        ("annotations", Shape::Any),
    ]);
}

/// What a document is.
enum Part {
    Index(Vec<Descriptor>),
    Manifest { config: Descriptor, layers: Vec<Descriptor> },
}

const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

impl Document {
    /// What the document is, which a descriptor says to be of the type `described`. The error says why it would be an index for
    /// one program and a manifest for another (CVE-2021-41190): by what it has, by its own type or by its descriptor's.
    fn part(self, described: Option<&str>) -> Result<Part, String> {
        let own = self.media_type.as_deref();
        if let (Some(own), Some(described)) = (own, described)
            && own != described
        {
            return Err(format!("has the type {own:?}, and its descriptor says {described:?}"));
        }
        let is = |types: &[&str]| [own, described].iter().flatten().all(|it| types.contains(it));
        match (self.manifests, self.config, self.layers, self.fs_layers) {
            (Some(manifests), None, None, None) if is(&INDEXES) => Ok(Part::Index(manifests)),
            (None, Some(config), layers, None) if is(&MANIFESTS) => {
                Ok(Part::Manifest { config, layers: layers.unwrap_or_default() })
            }
            (Some(_), None, None, None) | (None, Some(_), _, None) => {
                let said = own.or(described).unwrap_or_default();
                Err(format!("is of another type than it says, {said:?}"))
            }
            (None, None, None, None) => Err("is neither an index nor a manifest".to_owned()),
            _ => Err("has parts of different types: an index has manifests, a manifest has config and layers".to_owned()),
        }
    }
}

impl Descriptor {
    fn file(&self) -> String {
        format!("blobs/sha256/{}", self.digest.hex())
    }

    /// The name of the image, in the annotation of containerd and Docker or in that of the image-spec.
    fn name(&self) -> Option<&str> {
        let annotations = self.annotations.as_ref()?;
        let keys = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
        keys.iter().find_map(|key| annotations.get(*key)).map(String::as_str)
    }

    /// How well the image suits this host, 0 best; none if it does not. Other programs ignore unknown types, too (image-spec,
    /// image-index.md).
    fn rank(&self) -> Option<u32> {
        let is_known = |it: &str| INDEXES.contains(&it) || MANIFESTS.contains(&it);
        match &self.platform {
            _ if !self.media_type.as_deref().is_none_or(is_known) => None,
            Some(platform) => platform.rank(),
            None => Some(0),
        }
    }

    fn platform(&self) -> String {
        self.platform.as_ref().map_or_else(|| "any".to_owned(), Platform::to_string)
    }

    fn text(&self, files: &Files) -> Result<Vec<u8>, ImportError> {
        let file = self.file();
        let text = files.text(&file)?;
        check(files, &file, &text, self.digest)?;
        if text.len() as u64 != self.size {
            let path = files.path().to_owned();
            let (expected, found) = (self.size, text.len() as u64);
            return Err(ImportError::Size { path, name: file, expected, found });
        }
        Ok(text)
    }
}

/// Finds the image of a layout. Of several images `wanted` names one; of several platforms the host's platform is taken.
pub(super) fn resolve(
    files: &Files,
    wanted: Option<&str>,
) -> Result<ResolvedManifest, ImportError> {
    let unusable = |what: String| ImportError::Image { path: files.path().into(), what };
    let (mut file, mut text) = ("index.json".to_owned(), files.only_text("index.json")?);
    let (mut media_type, mut name) = (None, None);
    for depth in 0..=DEEPEST {
        let document: Document = json(files, &file, &text)?;
        match document.part(media_type.as_deref()) {
            Err(what) => return Err(unusable(format!("{file} {what}"))),
            Ok(Part::Manifest { .. }) if depth == 0 => break,
            Ok(Part::Manifest { config, layers }) => {
                let layers = layers.iter().map(|layer| {
                    let expected = Expected { digest: layer.digest, size: layer.size };
                    LayerFile { file: layer.file(), expected: Some(expected) }
                });
                let config = config.text(files)?;
                return Ok(ResolvedManifest { name, config, layers: layers.collect() });
            }
            Ok(Part::Index(manifests)) => {
                let one = choose(files, &manifests, wanted)?;
                name = name.or_else(|| one.name().map(str::to_owned));
                (file, text, media_type) = (one.file(), one.text(files)?, one.media_type.clone());
            }
        }
    }
    Err(unusable("its index leads to no manifest".to_owned()))
}

fn choose<'d>(
    files: &Files,
    manifests: &'d [Descriptor],
    wanted: Option<&str>,
) -> Result<&'d Descriptor, ImportError> {
    let best = |of: &[&'d Descriptor]| -> Vec<&'d Descriptor> {
        let rank = of.iter().filter_map(|manifest| manifest.rank()).min();
        of.iter().copied().filter(|manifest| rank.is_some() && manifest.rank() == rank).collect()
    };
    let is_wanted = |manifest: &&Descriptor| wanted.is_some() && manifest.name() == wanted;
    let all: Vec<_> = manifests.iter().collect();
    let named = best(&all.iter().copied().filter(is_wanted).collect::<Vec<_>>());
    let path = files.path().to_owned();
    let ours = if named.is_empty() { best(&all) } else { named };
    match ours.as_slice() {
        [] => Err(ImportError::Platform {
            path,
            wanted: format!("linux/{}", platform::architecture()),
            there: manifests.iter().map(Descriptor::platform).take(20).collect(),
        }),
        // Several names of one image.
        [one, others @ ..] if others.iter().all(|other| other.digest == one.digest) => Ok(one),
        // Containerd takes the first, too.
        several if several.iter().all(|m| m.platform.is_some() && m.name().is_none()) => {
            Ok(several[0])
        }
        several => {
            let name = |m: &&Descriptor| m.name().unwrap_or("without a name").to_owned();
            Err(ImportError::Several { path, images: several.iter().map(name).take(20).collect() })
        }
    }
}

/// What this reader reads of an index or a manifest; none if it refuses the text.
#[cfg(feature = "fuzz")]
pub(super) fn document(text: &[u8]) -> Option<serde_json::Value> {
    serde_json::to_value(parse::<Document>(text).ok()?).ok()
}
