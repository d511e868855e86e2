//! An OCI layout: index.json leads to one manifest, directly or through more indexes (image-spec: image-layout.md,
//! image-index.md).

use std::collections::HashMap;

use serde::Deserialize;
use sharedroot_format::Digest;

use super::error::ImportError;
use super::files::{Files, check, json};

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

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: Digest,
    size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

/// An index, which has `manifests`, or a manifest, which has `config` and `layers`.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
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

    fn is_for_this_host(&self) -> bool {
        self.platform.as_ref().is_none_or(|p| p.os == "linux" && p.architecture == architecture())
    }

    fn platform(&self) -> String {
        match &self.platform {
            Some(Platform { os, architecture, variant: Some(variant) }) => {
                format!("{os}/{architecture}/{variant}")
            }
            Some(Platform { os, architecture, .. }) => format!("{os}/{architecture}"),
            None => "any".to_owned(),
        }
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
    let text = files.text("index.json")?;
    let mut document: Document = json(files, "index.json", &text)?;
    let mut name = None;
    for _ in 0..DEEPEST {
        let Some(manifests) = document.manifests.take() else { break };
        let one = choose(files, &manifests, wanted)?;
        name = name.or_else(|| one.name().map(str::to_owned));
        let text = one.text(files)?;
        document = json(files, &one.file(), &text)?;
    }
    let unusable = |what: &str| ImportError::Image { path: files.path().into(), what: what.into() };
    let config = document.config.ok_or_else(|| unusable("its index leads to no manifest"))?;
    let layers = document.layers.iter().map(|layer| {
        let expected = Expected { digest: layer.digest, size: layer.size };
        LayerFile { file: layer.file(), expected: Some(expected) }
    });
    Ok(ResolvedManifest { name, config: config.text(files)?, layers: layers.collect() })
}

fn choose<'d>(
    files: &Files,
    manifests: &'d [Descriptor],
    wanted: Option<&str>,
) -> Result<&'d Descriptor, ImportError> {
    let ours: Vec<_> = manifests.iter().filter(|manifest| manifest.is_for_this_host()).collect();
    let named: Vec<_> =
        ours.iter().copied().filter(|m| wanted.is_some() && m.name() == wanted).collect();
    let path = files.path().to_owned();
    match (ours.as_slice(), named.as_slice()) {
        ([], _) => Err(ImportError::Platform {
            path,
            wanted: format!("linux/{}", architecture()),
            there: manifests.iter().map(Descriptor::platform).take(20).collect(),
        }),
        ([one], _) | (_, [one, ..]) => Ok(one),
        // Several names of one image, or several variants of the architecture.
        (several, _) if several.iter().all(|m| m.digest == several[0].digest) => Ok(several[0]),
        (several, _) if several.iter().all(|m| m.platform.is_some() && m.name().is_none()) => {
            Ok(several[0])
        }
        (several, _) => {
            let name = |m: &&Descriptor| m.name().unwrap_or("without a name").to_owned();
            Err(ImportError::Several { path, images: several.iter().map(name).take(20).collect() })
        }
    }
}

/// The architecture of the host, by the names of Go, which the image-spec uses.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}
