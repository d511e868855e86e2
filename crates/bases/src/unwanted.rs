//! The bases that nobody wants: their image is gone. A base that is only not in use is not among them.

use sharedroot_dm::Volume;
use sharedroot_format::BaseKey;

use crate::bases::Bases;
use crate::error::RootfsError;

impl Bases {
    /// The bases that no container uses, that have no given name, and whose engine has removed the image.
    ///
    /// A base without a known origin stays, because nobody knows whether its image exists.
    ///
    /// # Errors
    /// [`RootfsError`].
    pub fn unwanted_bases(&self) -> Result<Vec<BaseKey>, RootfsError> {
        let catalog = self.catalog().read()?;
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
        // Read last: a container whose image existed a moment ago has its lease by now.
        let leases = self.leases().all()?;
        unwanted.retain(|key| leases.iter().all(|lease| lease.base != *key));
        Ok(unwanted)
    }
}
