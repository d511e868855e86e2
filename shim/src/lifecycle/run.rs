//! `run`: create, start, wait for the end, delete.
//!
//! Another command may delete the container at any time, and a third one may create a container with the same ID. So `run` has the
//! lock of its container from `create` until its program runs, and afterwards recognises the container by the lock file.

use sharedroot_engine::{Deletion, Engine, hold};
use sharedroot_sys::chain::chain;
use sharedroot_sys::process_start::Moment;

use super::order::Order;
use super::story::tell;
use super::{Container, LifecycleError};
use crate::record::Lock;
use crate::starts::Step;

impl Container {
    /// `run`: create, start, wait for the end, delete. Returns the exit status.
    ///
    /// # Errors
    /// [`LifecycleError`].
    pub fn run(
        &self,
        engine: &Engine,
        order: &Order<'_>,
        keep: bool,
    ) -> Result<u8, LifecycleError> {
        let (status, mut own) = self.create_claimed(engine, order)?;
        // A delegate does all of these steps itself.
        let Engine::Embedded(embedded) = engine else { return Ok(status) };
        let held = (!order.options.detach).then(hold).transpose().map_err(|e| self.wrong(e))?;
        let began = Moment::now();
        let relay = embedded.listen();
        let started = embedded.start();
        if started.is_ok() {
            self.note(Step::Start, began);
            tell(format_args!("started"));
        }
        let init = started.and_then(|()| self.init(embedded));
        own.let_go();
        if init.is_ok() && order.options.detach {
            self.relay(embedded, relay);
            return Ok(0);
        }
        let status = init.and_then(|init| {
            let aside = relay.map(|relay| relay.run_aside(std::process::id()));
            let status = self.wait(init);
            let told = aside.map(|aside| aside.map(|thread| thread.join()));
            if let Some(Err(error) | Ok(Ok(Err(error)))) = told {
                tracing::warn!("run {}: NOTIFY_SOCKET: {error}", self.id);
            }
            status
        });
        // The signals are unblocked here, so that no `poststop` hook has blocked signals.
        drop(held);
        if !keep && let Err(error) = self.delete_own(own, engine) {
            // What the container sent before its end is passed on first.
            tracing::warn!("{}", chain(&error));
        }
        Ok(status?)
    }

    /// Deletes the container whose lock this process had, and no other one that has the ID by now.
    fn delete_own(&self, mut own: Lock, engine: &Engine) -> Result<(), LifecycleError> {
        if !self.place.regain(&mut own)? {
            tracing::debug!("run {}: another command has deleted the container", self.id);
            return Ok(());
        }
        if !own.is_held() {
            // A `delete` or a `pause` has the lock. Without the lock nobody knows whose container is deleted.
            return Err(self.root_in_use("delete"));
        }
        self.delete_locked(own, engine, Deletion::Forced).map(|_| ())
    }
}
