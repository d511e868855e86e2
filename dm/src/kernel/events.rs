//! Waiting for an event of a dm device.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::failed;
use super::{Kernel, KernelError};

impl Kernel {
    /// Arms [`wait_for_event`](Self::wait_for_event): from now on an event of any dm device ends that wait.
    pub(crate) fn arm_events(&self) -> Result<(), KernelError> {
        self.0.arm_poll().map(drop).map_err(failed("arm poll", ""))
    }

    /// Waits until an event of any dm device has come since the last [`arm_events`](Self::arm_events), at most for `limit`.
    pub(crate) fn wait_for_event(&self, limit: Option<Duration>) -> Result<(), KernelError> {
        let limit = limit.map_or(PollTimeout::NONE, |limit| {
            PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX)
        });
        let mut wanted = [PollFd::new(self.0.file().as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut wanted, limit) {
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(KernelError::Refused {
                        call: "poll",
                        device: String::new(),
                        errno,
                    });
                }
                Ok(_) => return Ok(()),
            }
        }
    }
}
