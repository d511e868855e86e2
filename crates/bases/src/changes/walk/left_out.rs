//! What the second tree cannot take, and whether the walk goes on without it.

use std::ffi::CStr;

use sharedroot_sys::chain::chain;

use super::super::error::{ChangeError, Failed, Of, has_room, path};
use super::super::frame::Find;
use super::super::node::{look, on_disk};
use super::super::part;
use super::Walk;

impl Walk<'_> {
    /// Whether this walk leaves out what the second tree cannot take.
    pub(super) fn leaves_out(&self) -> bool {
        matches!(self.find, Find::Changed { .. })
    }

    /// Whether the walk goes on after this failure.
    pub(super) fn goes_on(&mut self, failed: &Failed, name: Option<&CStr>) -> bool {
        let Find::Changed { store, .. } = self.find else { return false };
        match failed.of {
            Of::File => true,
            Of::Host => false,
            Of::Room => !self.pending.has_failed() && has_room(store, self.room_of(name)),
            Of::RoomForNoContent => !self.pending.has_failed() && has_room(store, 0),
        }
    }

    /// How many bytes a name takes at most: the bytes of the file, and the bytes of the image's file of that name, which an
    /// overlay copies before any change.
    pub(super) fn room_of(&mut self, name: Option<&CStr>) -> u64 {
        let Some(name) = name else { return 0 };
        let bytes = |dir| look(dir, name).ok().flatten().map_or(0, |found| on_disk(&found));
        let from = bytes(self.from.here());
        from.saturating_add(self.to.follow(self.way.iter()).map_or(0, bytes))
    }

    /// Records the failure and leaves the file out, or returns the failure as an error.
    pub(super) fn leave_out(
        &mut self,
        failed: Failed,
        name: Option<&CStr>,
    ) -> Result<(), ChangeError> {
        let (goes_on, part) = (self.goes_on(&failed, name), failed.part);
        let error = self.error(failed, name);
        if !goes_on {
            return Err(error);
        }
        if let (Some(rights), Some(name)) = (part, name)
            && let Ok(to) = self.to.follow(self.way.iter())
            && let Err(errno) = part::show(to, name, rights)
        {
            tracing::debug!("{}: what is there keeps its mode: {errno}", chain(&error));
        }
        self.tally.left_out.add(error);
        Ok(())
    }

    pub(super) fn error(&self, failed: Failed, name: Option<&CStr>) -> ChangeError {
        let names = self.way.iter().map(|name| name.as_bytes()).chain(name.map(CStr::to_bytes));
        let names: Vec<_> = names.collect();
        ChangeError { step: failed.step, path: path(names.into_iter()), source: failed.source }
    }
}
