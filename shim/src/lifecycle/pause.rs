//! `pause`. An engine pauses a writable container in order to make a layer of its changes (`docker commit`), and reads these
//! from its own directories. While the container runs, its changes are only in the snapshot.

use sharedroot_bases::{WrittenBack, save_so_far};
use sharedroot_engine::Engine;
use sharedroot_sys::chain::chain;

use super::story::{GivenBack, tell};
use super::{Container, LifecycleError, engines};
use crate::record::Rootfs;

impl Container {
    /// Freezes the container. What a container with a private rootfs has changed so far is written back then; if that fails, the
    /// container is thawed. Returns the exit status.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn pause(&self) -> Result<u8, LifecycleError> {
        let status = engines(|| self.freeze())?;
        if status != 0 {
            return Ok(status);
        }
        if !self.has_private_rootfs() {
            tell(format_args!("paused"));
            return Ok(0);
        }
        match self.give_back() {
            Ok(given) => {
                tell(format_args!("paused: {}", GivenBack(given)));
                Ok(0)
            }
            Err(error) => {
                match self.thaw() {
                    Ok(0) => {}
                    Ok(status) => {
                        tracing::warn!("the container stays frozen: its engine ended with {status}")
                    }
                    Err(error) => tracing::warn!("the container stays frozen: {}", chain(&error)),
                }
                Err(error)
            }
        }
    }

    /// Does nothing for a container without a snapshot.
    fn give_back(&self) -> Result<Option<WrittenBack>, LifecycleError> {
        // `delete` also writes back, and removes the snapshot.
        let lock = self.place.wait()?;
        if lock.is_others() {
            return Err(self.root_in_use("pause"));
        }
        let rootfs = self.place.read()?.map(|record| record.rootfs);
        let Some(Rootfs::Private { volume, mount_point, .. }) = rootfs else { return Ok(None) };
        Ok(Some(save_so_far(&self.bases, &volume, &mount_point)?))
    }

    fn freeze(&self) -> Result<u8, LifecycleError> {
        match &self.engine {
            Engine::Embedded(embedded) => embedded.pause()?,
            Engine::Delegate(delegate) => return Ok(delegate.pause()?),
        }
        Ok(0)
    }

    fn thaw(&self) -> Result<u8, LifecycleError> {
        match &self.engine {
            Engine::Embedded(embedded) => embedded.resume()?,
            Engine::Delegate(delegate) => return Ok(delegate.resume()?),
        }
        Ok(0)
    }
}
