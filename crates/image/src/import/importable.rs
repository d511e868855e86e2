//! An image in a source: looked into, then unpacked.

use std::fs::DirBuilder;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use sharedroot_format::{BaseKey, Digest, Hashing};

use super::archive::Archive;
use super::beneath::Below;
use super::compression::Decoded;
use super::contents::{Contents, Layer};
use super::error::ImportError;
use super::files::Files;
use super::unpack;
use crate::image::Image;
use crate::init_layer::InitFiles;
use crate::source::Source;
use crate::top::Top;

/// An image in a source: known, and not unpacked yet.
#[derive(Debug)]
pub struct Importable {
    files: Files,
    contents: Contents,
}

impl Importable {
    /// Looks into `source`; none if it is a directory that holds no image, and so may be a root itself. Of several images
    /// `wanted` names the one.
    ///
    /// # Errors
    /// [`ImportError`]; manifests and configuration have been checked against their digests.
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

    /// What the source calls the image.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.contents.name.as_deref()
    }

    /// The key of the base, the same as that of a container of Docker's.
    #[must_use]
    pub fn key(&self) -> BaseKey {
        BaseKey::of_chain(&self.contents.chain_id, None)
    }

    /// Bytes of all layers, as they are stored.
    ///
    /// # Errors
    /// [`ImportError::Missing`].
    pub fn stored_bytes(&self) -> Result<u64, ImportError> {
        // One file may be named by every layer.
        self.contents.layers.iter().try_fold(0_u64, |sum, layer| {
            Ok(sum.saturating_add(self.files.get(&layer.file)?.size()))
        })
    }

    /// Unpacks the layers into new directories of `scratch`, which exists and is empty. `passed` hears how many stored
    /// bytes have been read.
    ///
    /// # Errors
    /// [`ImportError`]: a layer that is not what its digests say, or that cannot be unpacked.
    pub fn unpack(
        &self,
        scratch: &Path,
        mut passed: impl FnMut(u64),
    ) -> Result<Image, ImportError> {
        let (mut below, mut before) = (Below::default(), 0_u64);
        for (n, layer) in self.contents.layers.iter().enumerate() {
            let directory = scratch.join(n.to_string());
            DirBuilder::new().mode(0o755).create(&directory).map_err(|source| {
                ImportError::Scratch { step: "make", path: directory.clone(), source }
            })?;
            let read = self.unpack_layer(n, layer, &directory, &mut below, |n| {
                passed(before.saturating_add(n));
            })?;
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

    /// Unpacks one layer, and checks the digests of what was read and of what it held. Returns its stored size.
    fn unpack_layer(
        &self,
        n: usize,
        layer: &Layer,
        directory: &Path,
        below: &mut Below,
        passed: impl FnMut(u64),
    ) -> Result<u64, ImportError> {
        let path = self.files.path().to_owned();
        let blob = self.files.get(&layer.file)?;
        let size = blob.size();
        let stored = |source| ImportError::Open { path: path.join(&layer.file), source };
        if let Some((_, expected)) = layer.blob
            && expected != size
        {
            let name = layer.file.clone();
            return Err(ImportError::Size { path, name, expected, found: size });
        }
        let mut archive = Archive::new(Hashing::new(
            Decoded::new(Hashing::new(Counted { inner: blob, at: 0, passed })).map_err(stored)?,
        ));
        let unpacked = unpack::unpack(&mut archive, directory, below);
        let root = unpacked.map_err(|source| ImportError::Layer {
            path: path.clone(),
            at: n + 1,
            of: self.contents.layers.len(),
            source,
        })?;
        // What follows the tar's end is part of the digests, too.
        let (decoded, diff_id) = archive.into_stream().finish().map_err(stored)?;
        let (_, digest) = decoded.into_raw().finish().map_err(stored)?;
        let same = |what: &str, expected: Digest, found: Digest| {
            let name = format!("layer {} of {} ({what})", n + 1, self.contents.layers.len());
            let path = path.clone();
            if expected == found {
                Ok(())
            } else {
                Err(ImportError::Digest { path, name, expected, found })
            }
        };
        if let Some((expected, _)) = layer.blob {
            same("the blob", expected, digest)?;
        }
        same("its tar, the diff ID", layer.diff_id, diff_id)?;
        below.push(directory.to_owned(), root);
        Ok(size)
    }
}

/// Tells how many bytes have been read.
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
