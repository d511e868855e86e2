//! `start`: the container's program runs, and the caller's service manager learns when it is ready.

use std::path::PathBuf;

use libcontainer::container::Container;

use super::container::Embedded;
use super::notify::Relay;
use crate::EngineError;
use crate::asked::Reach;

impl Embedded {
    /// Starts the container's program.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn start(&self) -> Result<(), EngineError> {
        let mut container = self.load("start")?;
        self.require("start", &container, Container::can_start)?;
        let id = self.id();
        let engine = |why| EngineError::Engine { verb: "start", id: id.clone(), why };
        let later = self.later("start")?;
        let executed = later.as_ref().map(|later| later.watch(self.bundle())).transpose();
        let executed = executed.map_err(|e| engine(format!("watch its start: {e}")))?.flatten();
        container.start().map_err(self.fail("start"))?;
        let ran = executed.map_or(Ok(()), |executed| executed.wait().map_err(engine));
        let hook = |source| EngineError::Hook { verb: "start", id: id.clone(), source };
        ran.and_then(|()| match later {
            Some(later) => later.after_start(&container.state, self.callers()).map_err(hook),
            None => Ok(()),
        })
        .inspect_err(|_| {
            // runtime-spec: a container whose hook fails is stopped.
            let _ = self.kill("KILL", Reach::Init);
        })
    }

    /// The socket at which the container's program will say that it is ready, made before the program runs. If the
    /// socket cannot be made, that is a warning: systemd's own time-out ends a service that is never ready.
    #[must_use]
    pub fn listen(&self) -> Option<Relay> {
        let opened = self.load("start").ok().and_then(|container| {
            let init = self.hold(&container).transpose()?;
            init.and_then(|init| Relay::open(&self.notify_dir(), init)).transpose()
        });
        opened.and_then(|opened| {
            opened.map_err(|e| tracing::warn!("start {}: NOTIFY_SOCKET: {e}", self.id())).ok()
        })
    }

    /// The directory that is bound into the container, and in which its program finds the socket.
    #[must_use]
    pub fn notify_dir(&self) -> PathBuf {
        self.bundle().join("notify")
    }
}
