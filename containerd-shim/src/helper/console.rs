//! The terminal of a process, on its way to the server: the engine sends the master of the pty to a socket of the helper's.

use std::fs::{self, Permissions};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::Failed;

/// The socket for one terminal. Dropping this value removes the socket.
#[derive(Debug)]
pub struct Console {
    path: PathBuf,
    listener: UnixListener,
}

impl Console {
    /// Listens beside the shim's socket, where only root may enter.
    ///
    /// # Errors
    /// bind(2)'s.
    pub fn listen(shim: &Path) -> Result<Self, Failed> {
        let path = shim.with_extension(std::process::id().to_string());
        let fail = |e: io::Error| Failed::other(format!("listen at {}: {e}", path.display()));
        // A helper with this number was killed.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(fail)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(fail)?;
        Ok(Self { path, listener })
    }

    /// The socket's path, for the engine.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Takes the terminal. The engine has sent it when the process is there, so this does not wait.
    ///
    /// # Errors
    /// The engine has sent none.
    pub fn receive(self) -> Result<OwnedFd, Failed> {
        self.take().map_err(|e| Failed::other(format!("take the terminal: {e}")))
    }

    fn take(&self) -> io::Result<OwnedFd> {
        self.listener.set_nonblocking(true)?;
        let (stream, _) = self.listener.accept()?;
        let mut name = [0; 64];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        recvmsg(&stream, &mut [IoSliceMut::new(&mut name)], &mut control, flags)?;
        let mut sent = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        sent.next().ok_or_else(|| io::Error::other("the engine sent no terminal"))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
