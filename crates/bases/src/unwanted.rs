//! The bases that nobody wants, told from those that are only not in use.

use sharedroot_dm::Volume;
use sharedroot_format::BaseKey;
use sharedroot_format::base::BaseFormat;
use sharedroot_sys::chain::chain;

use crate::bases::Bases;
use crate::error::RootfsError;

/// Why nobody wants a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwanted {
    /// Its engine has its image no more.
    ImageGone,
    /// Another version of sharedroot made it. This version looks for bases of its own format only.
    OtherFormat,
}

impl Bases {
    /// The bases that no container uses, that have no given name, and that no container will use: their image is gone, or their format
    /// is another version's.
    ///
    /// A base of this version's format without a known origin stays, because nobody knows whether its image
    /// exists.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub fn unwanted_bases(&self) -> Result<Vec<(BaseKey, Unwanted)>, RootfsError> {
        let catalog = self.catalog().read()?;
        let mut unwanted = Vec::new();
        for volume in self.known_pool()?.volumes()?.into_iter().filter(Volume::is_ready) {
            let Some(key) = volume.name.base() else { continue };
            if catalog.names_of(&key).next().is_some() {
                continue;
            }
            if key.format() != BaseFormat::CURRENT {
                unwanted.push((key, Unwanted::OtherFormat));
                continue;
            }
            match catalog.facts(&key).map(|facts| facts.source.is_there()) {
                Some(Ok(false)) => unwanted.push((key, Unwanted::ImageGone)),
                Some(Err(error)) => {
                    tracing::warn!("the image of the base {key}: {}", chain(&error));
                }
                Some(Ok(true)) | None => {}
            }
        }
        // Read last: a container whose image existed a moment ago has its lease by now.
        let leases = self.leases().all()?;
        unwanted.retain(|(key, _)| leases.iter().all(|lease| lease.base != *key));
        Ok(unwanted)
    }
}
