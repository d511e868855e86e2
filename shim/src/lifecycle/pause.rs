//! `pause` of a writable container: engines pause one to pack a layer of what it changed (`docker commit`), and read that
//! from their own directories, which have nothing of it while it runs.

use sharedroot_bases::{WrittenBack, save_so_far};
use sharedroot_engine::Engine;

use super::story::{GivenBack, tell};
use super::{Container, LifecycleError, engines};
use crate::record::Rootfs;

impl Container {
    /// Freezes the container, then gives its engine what it has changed so far. Where that fails, the container runs on.
    /// Returns the exit status.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn pause(&self) -> Result<u8, LifecycleError> {
        let status = engines(|| self.freeze(true))?;
        if status != 0 {
            return Ok(status);
        }
        match self.give_back() {
            Ok(given) => {
                tell(format_args!("paused: {}", GivenBack(given)));
                Ok(0)
            }
            Err(error) => {
                match self.freeze(false) {
                    Ok(0) => {}
                    Ok(status) => tracing::warn!("it stays frozen: its engine ended with {status}"),
                    Err(error) => tracing::warn!("it stays frozen: {error}"),
                }
                Err(error)
            }
        }
    }

    /// Nothing of a container that has no snapshot.
    fn give_back(&self) -> Result<Option<WrittenBack>, LifecycleError> {
        // A `delete` gives back, too, and takes the snapshot away.
        let _lock = self.place.wait()?;
        let rootfs = self.place.read()?.map(|record| record.rootfs);
        let Some(Rootfs::Private { volume, mount_point, .. }) = rootfs else { return Ok(None) };
        Ok(Some(save_so_far(&self.bases, &volume, &mount_point)?))
    }

    fn freeze(&self, frozen: bool) -> Result<u8, LifecycleError> {
        match &self.engine {
            Engine::Embedded(embedded) if frozen => embedded.pause()?,
            Engine::Embedded(embedded) => embedded.resume()?,
            Engine::Delegate(delegate) if frozen => return Ok(delegate.pause()?),
            Engine::Delegate(delegate) => return Ok(delegate.resume()?),
        }
        Ok(0)
    }
}
