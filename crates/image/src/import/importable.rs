//! An image in a source: opened, then unpacked.

use std::fs::DirBuilder;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use sharedroot_format::{BaseKey, Digest, Hashing};

use super::amount::{Amount, Metered};
use super::compression::Decoded;
use super::contents::{Contents, Layer};
use super::error::ImportError;
use super::files::Files;
use super::index::LayerFile;
use super::lower_layers::LowerLayers;
use super::tar_stream::Archive;
use super::unpack;
use crate::image::Image;
use crate::init_layer::InitFiles;
use crate::source::Source;
use crate::top::Top;

/// An image in a source, whose layers are not unpacked yet.
#[derive(Debug)]
pub struct Importable {
    files: Files,
    contents: Contents,
}

impl Importable {
    /// Opens the image in `source`. Checks the manifests and the configuration against their digests. Of several images
    /// `wanted` names one. None if `source` is a directory without an image: it may be a root file system (see
    /// [`super::directory`]).
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn open(source: &Path, wanted: Option<&str>) -> Result<Option<Self>, ImportError> {
        let files = Files::open(source)?;
        match (Contents::of(&files, wanted)?, &files) {
            (Some(contents), _) => Ok(Some(Self { files, contents })),
            (None, Files::Directory { .. }) => Ok(None),
            (None, Files::Tar { path, .. }) => {
                let found = "a tar without index.json and manifest.json";
                Err(ImportError::NoSource { path: path.clone(), found })
            }
        }
    }

    /// The name of the image in the source, if it has exactly one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.contents.name.as_deref()
    }

    /// The key of the base: the image's containers have the same key under Docker.
    #[must_use]
    pub fn key(&self) -> BaseKey {
        BaseKey::of_chain(&self.contents.chain_id, None)
    }

    /// The size of all layers as they are stored, in bytes.
    ///
    /// # Errors
    /// [`ImportError::Missing`].
    pub fn stored_bytes(&self) -> Result<u64, ImportError> {
        // Every layer may name one file, so the sum may be larger than the source.
        self.contents.layers.iter().try_fold(0_u64, |sum, layer| {
            Ok(sum.saturating_add(self.files.get(&layer.blob.file)?.size()))
        })
    }

    /// Unpacks the layers into new directories in the empty directory `scratch`. All layers together have at most `most` bytes,
    /// as they are stored and decompressed, and so have their files, with the holes. Calls `passed` with the number of stored bytes that have been read.
    ///
    /// # Errors
    /// [`ImportError`] if a layer has another digest, or cannot be unpacked.
    pub fn unpack(
        &self,
        scratch: &Path,
        most: u64,
        mut passed: impl FnMut(u64),
    ) -> Result<Image, ImportError> {
        if self.stored_bytes()? > most {
            return Err(self.too_large(most));
        }
        let (mut below, mut before, amount) =
            (LowerLayers::of_bytes(most), 0_u64, Amount::of(most));
        for (n, layer) in self.contents.layers.iter().enumerate() {
            let directory = scratch.join(n.to_string());
            DirBuilder::new().mode(0o755).create(&directory).map_err(|source| {
                ImportError::Scratch { step: "make", path: directory.clone(), source }
            })?;
            let passed = |n| passed(before.saturating_add(n));
            let read = self.unpack_layer(n, layer, &directory, &mut below, &amount, passed);
            let is_exceeded = amount.is_exceeded() || below.allowance.is_exceeded();
            let read =
                read.map_err(|error| if is_exceeded { self.too_large(most) } else { error })?;
            before = before.saturating_add(read);
        }
        Ok(Image {
            key: self.key(),
            chain_id: Some(self.contents.chain_id),
            layers: below.into_paths(),
            upper: None,
            init: InitFiles::AsDocker,
            top: Top::OF_DOCKER,
            source: Source::Import { path: self.files.path().to_owned() },
        })
    }

    fn too_large(&self, most: u64) -> ImportError {
        ImportError::TooLarge { path: self.files.path().to_owned(), most: most >> 20 }
    }

    /// Unpacks one layer. Checks the digests of the stored bytes and of the tar in them. Returns the size of the stored bytes.
    fn unpack_layer(
        &self,
        n: usize,
        layer: &Layer,
        directory: &Path,
        below: &mut LowerLayers,
        amount: &Amount,
        passed: impl FnMut(u64),
    ) -> Result<u64, ImportError> {
        let path = self.files.path().to_owned();
        let LayerFile { file, expected } = &layer.blob;
        let blob = self.files.get(file)?;
        let size = blob.size();
        let stored = |source| ImportError::Open { path: path.join(file), source };
        if let Some(expected) = expected
            && expected.size != size
        {
            let (name, expected) = (file.clone(), expected.size);
            return Err(ImportError::Size { path, name, expected, found: size });
        }
        let decoded =
            Decoded::new(Hashing::new(Counted { inner: blob, at: 0, passed })).map_err(stored)?;
        let mut archive = Archive::new(Hashing::new(Metered::new(decoded, amount)));
        let unpacked = unpack::unpack(&mut archive, directory, below);
        let root = unpacked.map_err(|source| ImportError::Layer {
            path: path.clone(),
            at: n + 1,
            of: self.contents.layers.len(),
            source,
        })?;
        // Bytes behind the end of the tar belong to the digests, too.
        let (decoded, diff_id) = archive.into_stream().finish().map_err(stored)?;
        let (_, digest) = decoded.into_inner().into_raw().finish().map_err(stored)?;
        let same = |what: &str, expected: Digest, found: Digest| {
            let name = format!("layer {} of {} ({what})", n + 1, self.contents.layers.len());
            let path = path.clone();
            if expected == found {
                Ok(())
            } else {
                Err(ImportError::Digest { path, name, expected, found })
            }
        };
        if let Some(expected) = expected {
            same("the blob", expected.digest, digest)?;
        }
        same("its tar, the diff ID", layer.diff_id, diff_id)?;
        below.push(directory.to_owned(), root);
        Ok(size)
    }
}

/// A reader that calls `passed` with the number of bytes that have been read.
struct Counted<R, F> {
    inner: R,
    at: u64,
    passed: F,
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.at += n as u64;
        (self.passed)(self.at);
        Ok(n)
    }
}

#[cfg(test)]
#[path = "one_image_tests.rs"]
mod one_image_tests;
#[cfg(test)]
#[path = "importable_tests.rs"]
mod tests;
