//! Where the bases came from, so that one whose image is gone can be told from one that is only not in use.

use sharedroot_dm::Volume;
use sharedroot_format::BaseKey;
use sharedroot_image::{Image, Source};

use crate::catalog::{Catalog, Facts};
use crate::names::Names;

use crate::bases::Bases;
use crate::error::RootfsError;

impl Bases {
    /// What is known of bases.
    ///
    /// # Errors
    /// [`RootfsError::Catalog`].
    pub fn catalog(&self) -> Result<Catalog, RootfsError> {
        Ok(Catalog::read(self.state_dir())?)
    }

    /// What people and engines call the bases' images.
    ///
    /// # Errors
    /// [`RootfsError::Catalog`].
    pub fn names(&self) -> Result<Names, RootfsError> {
        Ok(Names::of(self.catalog()?))
    }

    /// Changes it.
    ///
    /// # Errors
    /// [`RootfsError::Catalog`].
    pub fn change_catalog(&self, change: impl FnOnce(&mut Catalog)) -> Result<(), RootfsError> {
        Ok(Catalog::change(self.state_dir(), self.run_dir(), change)?)
    }

    /// Notes where `image` is now: its engine's store may have moved since its base was made. What was imported stays so.
    pub(super) fn note_origin(&self, image: &Image) -> Result<(), RootfsError> {
        if image.source == Source::Base {
            return Ok(());
        }
        self.change_catalog(|catalog| match catalog.facts_mut(&image.key) {
            Some(Facts { source: Source::Import { .. }, .. }) => {}
            Some(known) => known.source = image.source.clone(),
            None => catalog.describe(&image.key, Facts::of(image)),
        })
    }

    /// The bases that no container uses, that nobody named, and whose image its engine has no more.
    ///
    /// One without an origin stays: nobody knows.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub fn unwanted_bases(&self) -> Result<Vec<BaseKey>, RootfsError> {
        let catalog = self.catalog()?;
        let mut unwanted = Vec::new();
        for volume in self.known_pool()?.volumes()?.into_iter().filter(Volume::is_ready) {
            let Some(key) = volume.name.base() else { continue };
            if catalog.names_of(&key).next().is_some() {
                continue;
            }
            match catalog.facts(&key).map(|facts| facts.source.is_there()) {
                Some(Ok(false)) => unwanted.push(key),
                Some(Err(error)) => tracing::warn!("the image of the base {key}: {error}"),
                Some(Ok(true)) | None => {}
            }
        }
        // Read last: a container whose image was there a moment ago has its lease by now.
        let leases = self.leases().all()?;
        unwanted.retain(|key| leases.iter().all(|lease| lease.base != *key));
        Ok(unwanted)
    }
}
